"""Mutation run: mutmut, with one PostgreSQL for the test processes of all mutants.

    python -m tests.mutation [pattern of mutants ...]
    python -m tests.mutation --types mypy               what mutmut calls to check types

Thousands of mutants each get a test process of their own. A server and a guardian for each of them
take longer than most of their tests, so this process has both for all.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import django

from tests import database
from tests.guardian import Guarded

# The errors of the copies of functions that mutmut writes, changed or not.
_OF_COPIES = {"ignore-without-code", "no-redef", "unused-ignore"}
_CACHE = Path(".pytest_cache/d/postgres")


def main(patterns: list[str]) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.test"  # noqa: TID251 - as pytest does
    django.setup()
    _CACHE.mkdir(parents=True, exist_ok=True)
    guarded = Guarded()
    try:
        with database.migrated(_CACHE, database.create) as address:
            return _mutmut(patterns, address)
    finally:
        guarded.pytest_unconfigure()


def _mutmut(patterns: list[str], address: database.Address) -> int:
    with tempfile.TemporaryDirectory(dir=database.place()) as folder:
        environment = {database.SHARED: json.dumps(address), "TMPDIR": folder}
        return subprocess.run(
            [sys.executable, "-m", "mutmut", "run", *patterns],
            env={**os.environ, **environment},  # noqa: TID251 - passed on
            check=False,
        ).returncode


def _check_types() -> int:
    """Print mypy's errors about the changed code of this folder as lines of JSON."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--output=json",
        "validibot/runs",
        "validibot/dispatch",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in found.stdout.splitlines():
        if json.loads(line)["code"] not in _OF_COPIES:
            sys.stdout.write(f"{line}\n")
    return found.returncode


if __name__ == "__main__":
    arguments = sys.argv[1:]
    raise SystemExit(_check_types() if arguments[:1] == ["--types"] else main(arguments))
