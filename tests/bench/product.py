"""Figures of the product's pages, in a process with Django and a database of its own.

`python -m tests.bench.product findings` measures only those of that module; `growth 1000 10000` takes sizes.
"""

import gc
import importlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import django
from django.db import connection

from tests import database

type Row = tuple[str, str, str]

_MODULES = ("findings", "growth")


def measure() -> Iterator[Row]:
    """Yield the figures of all modules; each has a process of its own."""
    for name in _MODULES:
        command = [sys.executable, "-m", __name__, name]
        output = subprocess.run(command, cwd=database.ROOT, stdout=subprocess.PIPE, check=True)
        yield from map(tuple, json.loads(output.stdout))


def processor_milliseconds(visit: Callable[[], object], *, visits: int) -> list[float]:
    """Return the processor time of each visit, of this process and of its PostgreSQL server process."""
    visit()
    # The rows that were made before belong to no server: collecting them is not part of a visit.
    gc.collect()
    gc.freeze()
    times = []
    for _ in range(visits):
        before = processor_time()
        visit()
        times.append(processor_time() - before)
    return times


def processor_time() -> float:
    """Return the processor time so far, of this process and of its PostgreSQL server process, in ms."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    # https://docs.kernel.org/scheduler/sched-stats.html: time spent on the cpu, in nanoseconds.
    server = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
    return server + time.process_time() * 1000


def main() -> None:
    name, *arguments = sys.argv[1:]
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.test"  # noqa: TID251
    django.setup()
    with (
        Path(os.devnull).open("w") as nowhere,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        database.server(Path(folder)) as address,
        redirect_stdout(sys.stderr),  # commands of Django print, too
    ):
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(nowhere)  # a line for each request, which nobody would read
        database.create(address)
        connection.settings_dict["NAME"] = database.NAME
        # The models of the product can be imported only now.
        module = importlib.import_module(f"tests.bench.{name}")
        rows = list(module.measure(*map(int, arguments)))
        connection.close()
    json.dump(rows, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
