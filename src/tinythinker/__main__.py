"""`python -m tinythinker` is the `tinythinker` command."""

from tinythinker.cli.app import main

main()
