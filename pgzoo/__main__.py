"""``python -m pgzoo`` is the command line."""

from pgzoo.cli import main

if __name__ == "__main__":
    main()
