"""`python -m tests.bench.cases storage|tasks NAME`: try one case; exit 1 with the reason if it fails."""

import sys
from importlib import import_module


def main() -> int:
    module = import_module(f"tests.bench.cases.{sys.argv[1]}_cases")
    (case,) = (each for each in module.CASES if each.__name__ == sys.argv[2])
    try:
        module.attempt(case)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the answer
        print(f"{type(error).__name__}: {error}"[:200], file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
