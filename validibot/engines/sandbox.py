"""Child processes for work that may take much time or memory.

A submitted document or expression can cost more than a worker can afford, and the libraries that
check it cannot be interrupted. Such work is a generator of this package that a child process runs
under limits: it reads its input from standard input and writes one JSON line per item, to a file,
because 100,000 of them are too many to hold twice. A child that
reaches a limit is killed; the lines that it wrote before are kept. Other threads of the worker run
on meanwhile. A worker has no more children than processors: the thread of a check that finds none
free gives up, and the queue delivers its task again, so that a few expensive documents cannot take
all threads from other runs, callbacks and health checks.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from validibot.engines.base import EngineBusy, EngineManifest
from validibot.engines.problems import DocumentProblem

MAX_CHILDREN = max(2, os.cpu_count() or 1)
# A thread waits so long for a free place; most children end within it.
WAIT_SECONDS = 2.0
_ROOT = Path(__file__).parents[2]
_places = threading.BoundedSemaphore(MAX_CHILDREN)

type Work = Callable[[Any, bytes], Iterator[Any]]


def run_in_child(work: Work, header: Any, body: bytes, manifest: EngineManifest) -> list[Any]:
    """Return the items that `work(header, body)` yields in a child process.

    `header` and the items must be JSON. The manifest of the engine has the limits; twice as much
    real time as processor time may pass. Raises EngineBusy.
    """
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise EngineBusy(f"This worker checks {MAX_CHILDREN} large documents already.")
    try:
        with TemporaryFile() as output:
            _run(work, header, body, manifest, output)
            output.seek(0)
            # The last line may be unfinished.
            return [json.loads(line) for line in output if line.endswith(b"\n")]
    finally:
        _places.release()


def too_expensive(manifest: EngineManifest) -> DocumentProblem:
    """Return the problem of a check that reached its limits before it had a verdict."""
    message = (
        f"The check needs more than {manifest.seconds:g} s or {manifest.memory // 2**20} MB, the"
        f" limits of {manifest.title}. Split the document, or simplify the schema."
    )
    return DocumentProblem(message, code="document.too_expensive")


def _run(work: Work, header: Any, body: bytes, manifest: EngineManifest, output: IO[bytes]) -> None:
    name = f"{work.__module__}:{work.__name__}"
    limits = [str(manifest.seconds), str(manifest.memory)]
    command = [sys.executable, "-m", __name__, name, *limits]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 # our own module
            command,
            input=json.dumps(header).encode() + b"\n" + body,
            cwd=_ROOT,
            stdout=output,
            stderr=subprocess.DEVNULL,
            timeout=2 * manifest.seconds,
            check=False,
        )


def main() -> None:
    name, seconds, memory = sys.argv[1:]
    with suppress(ValueError, OSError):  # macOS has no limit on the address space
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    limit = max(1, int(float(seconds)))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, _, function = name.partition(":")
    header = json.loads(sys.stdin.buffer.readline())
    work: Work = getattr(import_module(module), function)
    for item in work(header, sys.stdin.buffer.read()):
        sys.stdout.write(json.dumps(item) + "\n")
        sys.stdout.flush()  # a child that is killed leaves what it has found


if __name__ == "__main__":
    main()
