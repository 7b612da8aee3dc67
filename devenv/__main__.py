"""Entry point of the developer environment: `python -m devenv`, and the program `devenv`."""

import sys


def main() -> int:
    """Run one command; return its exit code. Ctrl-C ends it without a traceback at any moment."""
    try:
        from devenv.cli.commands import main as run  # noqa: PLC0415 - Ctrl-C may come during it

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
