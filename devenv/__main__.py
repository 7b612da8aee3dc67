"""`python -m devenv`: the developer environment."""

import sys

from devenv.cli import main

sys.exit(main(sys.argv[1:]))
