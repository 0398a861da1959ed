"""``python -m viae`` is the command ``viae``."""

from viae.cli import main

if __name__ == "__main__":
    main()
