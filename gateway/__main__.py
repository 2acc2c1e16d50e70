"""The command `tallygate`, which is `python -m gateway` too."""

import sys
from importlib import import_module


def main() -> int:
    """Run the command line of the process and return its exit code; Ctrl-C ends it during the imports too."""
    try:
        code: int = import_module("gateway.cli.main").main()
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
