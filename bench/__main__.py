"""Entry point of `python -m bench`; it does the same as the command `bench`."""

import sys

if __name__ == "__main__":
    try:
        from bench.cli import main

        main()
    except KeyboardInterrupt:  # Ctrl-C during the imports, before `main` can handle it
        sys.exit(130)
