"""`python -m tinythinker` is the `tinythinker` command."""

from tinythinker.cli.main import main

main()
