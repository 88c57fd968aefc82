"""`python -m tinythinker` is the `tinythinker` command."""

from tinythinker.cli import main

main()
