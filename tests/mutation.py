"""Mutation run: mutmut, with one PostgreSQL for the test processes of all mutants.

    python -m tests.mutation [--sample 1000] [pattern of mutants ...]
    python -m tests.mutation --table [--sample 1000] [pattern of mutants ...]
    python -m tests.mutation --types mypy       what mutmut calls to check types

Thousands of mutants each get a test process of their own. A server and a guardian for each of them
take longer than most of their tests, so this process has both for all.

A sample has the mutants with the lowest digests of their names: the same ones in every checkout, and
a mutant leaves it only if its function changes. The table counts the results that are stored in
`mutants/`, of this run and of earlier ones.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import django
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name

from tests import database
from tests.guardian import Guarded

# The errors of the copies of functions that mutmut writes, changed or not.
_OF_COPIES = {"ignore-without-code", "no-redef", "unused-ignore"}
_COPIES = Path("mutants")
_CACHE = Path(".pytest_cache/d/postgres")
_COLUMNS = {
    "type": "caught by type check",
    "killed": "killed",
    "timeout": "timeout",
    "survived": "survived",
    "not reached": "no tests",
}
_DETECTED = {"caught by type check", "killed", "timeout"}
_ROW = "| {:<24} | {:>7} | {:>5} |" + " {:>8} |" * 5


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument(
        "patterns", nargs="*", metavar="pattern", help="names of mutants, with * and []"
    )
    parser.add_argument(
        "--sample", type=int, metavar="SIZE", help="try as many, the same each time"
    )
    parser.add_argument("--table", action="store_true", help="show stored results, run nothing")
    parser.add_argument("--types", choices=["mypy"], help="check the types of all mutants")
    options = parser.parse_args(arguments)
    if options.types:
        return _check_types()
    names = _names(options.patterns)
    chosen = _sample(names, options.sample) if options.sample else names
    if not chosen:
        parser.error(f"no mutant has a name like {' or '.join(options.patterns)}")
    if not options.table and (failed := _run(chosen if options.sample else options.patterns)):
        return failed
    _print_table(names, chosen)
    return 0


def _names(patterns: Sequence[str]) -> list[str]:
    """Return the names of the mutants that match one of the patterns, or of all."""
    names = [
        get_mutant_name(path, mutant)
        for path in walk_mutatable_files()
        for mutant in mutate_file_contents(str(path), path.read_text(), None, None).mutant_names
    ]
    return [name for name in names if not patterns or any(fnmatch(name, each) for each in patterns)]


def _sample(names: Iterable[str], size: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:size]


def _run(patterns: Sequence[str]) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.test"  # noqa: TID251 - as pytest does
    django.setup()
    _CACHE.mkdir(parents=True, exist_ok=True)
    _delete_stale_copies()
    guarded = Guarded()
    try:
        with database.migrated(_CACHE, database.create) as address:
            return _mutmut(patterns, address)
    finally:
        guarded.pytest_unconfigure()


def _delete_stale_copies() -> None:
    """Delete the copies in `mutants/` that mutmut does not renew.

    It renews Python files of the product, and adds what is missing.
    """
    for path in config().also_copy:
        if path.is_dir():
            shutil.rmtree(_COPIES / path, ignore_errors=True)
    for copy in [each for path in config().source_paths for each in (_COPIES / path).rglob("*")]:
        original = copy.relative_to(_COPIES)
        if copy.suffix in {".meta", ".spans"}:  # results of the Python file without this ending
            original = original.with_suffix("")
        if copy.is_file() and not (original.suffix == ".py" and original.exists()):
            copy.unlink()


def _mutmut(patterns: Sequence[str], address: database.Address) -> int:
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


def _print_table(names: Sequence[str], chosen: Sequence[str]) -> None:
    """Print the chosen mutants that nothing detected, and how many of each part ended how."""
    stored = {
        name: status_by_exit_code[code]
        for path in walk_mutatable_files()
        for name, code in _results(path).items()
        if code is not None
    }
    tried = {name: stored[name] for name in chosen if name in stored}
    for name, status in sorted(tried.items()):
        if status not in _DETECTED:
            sys.stdout.write(f"{status}: {name}\n")
    rows = [("part", "mutants", "tried", *_COLUMNS)]
    for part in [*sorted(set(map(_part, tried))), "all"]:
        results = Counter(status for name, status in tried.items() if part in (_part(name), "all"))
        existing = sum(part in (_part(name), "all") for name in names)
        counts = [existing, results.total(), *(results[each] for each in _COLUMNS.values())]
        rows.append((part, *map("{:,}".format, counts)))
    for row in rows:
        sys.stdout.write(f"{_ROW.format(*row)}\n")


def _results(path: Path) -> dict[str, int | None]:
    data = SourceFileMutationData(path=path)
    data.load()
    return data.exit_code_by_key


def _part(name: str) -> str:
    """Return `runs/backends` for `validibot.runs.backends.mock.plays.x_play__mutmut_1`."""
    return "/".join(name.split(".")[1:3])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
