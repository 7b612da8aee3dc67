"""`python -m validators.schematron`: entry point of the container."""

import sys

from validators.schematron.validate import VALIDATOR
from validators.sdk.main import main

if __name__ == "__main__":
    sys.exit(main(VALIDATOR))
