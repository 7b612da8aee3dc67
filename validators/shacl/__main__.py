"""`python -m validators.shacl`: entry point of the container."""

import sys

from validators.sdk.main import main
from validators.shacl.validate import VALIDATOR

if __name__ == "__main__":
    sys.exit(main(VALIDATOR))
