"""`python -m bench`."""

import sys

if __name__ == "__main__":
    try:
        from bench.cli import main

        main()
    except KeyboardInterrupt:  # during the imports
        sys.exit(130)
