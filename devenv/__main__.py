"""Entry point of the developer environment: `python -m devenv`."""

import sys

from devenv.cli.commands import main

sys.exit(main())
