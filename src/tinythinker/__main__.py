"""`python -m tinythinker` is the `tinythinker` command."""

import sys


def main() -> None:
    """Entry point of the `tinythinker` command, also while its modules load."""
    try:
        from tinythinker.cli.main import main as command

        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
