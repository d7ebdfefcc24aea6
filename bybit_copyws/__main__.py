"""``python -m bybit_copyws``: the same as the command ``bybit-copyws``."""

import sys

from bybit_copyws.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
