"""`python -m validators.energyplus`: entry point of the container."""

import sys

from validators.energyplus.validate import VALIDATOR
from validators.sdk.main import main

if __name__ == "__main__":
    sys.exit(main(VALIDATOR))
