"""`python -m keywright` is the command line."""

import sys

from keywright.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
