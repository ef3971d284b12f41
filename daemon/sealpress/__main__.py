"""`python -m sealpress` and the `sealpress` command.

Guarantees: Ctrl-C ends every command with 130 and no traceback, also one that has only begun to load.
"""

import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point."""
    try:
        from sealpress.cli.app import main as command  # takes its time

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
