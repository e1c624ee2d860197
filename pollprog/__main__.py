"""``python -m pollprog``."""

import sys

from pollprog.cli import main

if __name__ == "__main__":
    sys.exit(main())
