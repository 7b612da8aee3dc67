"""Command line: `python -m deploy COMMAND STAGE`."""

from deploy.cli import main

if __name__ == "__main__":
    main()
