"""`python -m sealpress` and the `sealpress` command."""

from sealpress.cli.app import main

if __name__ == "__main__":
    main()
