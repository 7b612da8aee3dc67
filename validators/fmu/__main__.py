"""`python -m validators.fmu`: entry point of the container."""

import sys

from validators.fmu.validate import VALIDATOR
from validators.sdk.main import main

if __name__ == "__main__":
    sys.exit(main(VALIDATOR))
