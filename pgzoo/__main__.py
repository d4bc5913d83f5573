"""The program ``pgzoo``, and ``python -m pgzoo``."""

import signal
import sys


def main() -> None:
    """Run the command line; an interruption while it is loaded leaves no traceback, either."""
    try:
        from pgzoo.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        command_line()
    finally:  # all is done: from here on an interruption ends Python at once, without a word
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
