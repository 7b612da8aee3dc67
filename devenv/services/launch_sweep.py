"""Asks the product every minute to look for lost runs, as Cloud Scheduler does in production."""

import subprocess
import sys
import time

_EVERY = 60.0


def main() -> None:
    while True:
        time.sleep(_EVERY)
        subprocess.run([sys.executable, "manage.py", "reconcile"], check=False)


if __name__ == "__main__":
    main()
