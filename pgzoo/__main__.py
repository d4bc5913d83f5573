"""The program ``pgzoo``, and ``python -m pgzoo``."""

import sys


def main() -> None:
    """Run the command line; an interruption while it is loaded leaves no traceback, either."""
    try:
        from pgzoo.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)
    command_line()


if __name__ == "__main__":
    main()
