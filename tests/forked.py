"""Python processes that start in milliseconds: forks of one with its packages loaded.

Settings are read once in the life of a process, so that a test of them needs a process for each set of
variables; most of its time would go into the imports of Django and of Google's clients. Tests of the command line
call it hundreds of times. The server imports nothing of this repository itself, so that other programs in Python,
like gcloud, are started in the same way.
"""

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NoReturn

ROOT = Path(__file__).parents[1]
# None of them reads the settings while it is imported.
_LOADED = (
    *("devenv.cli.commands", "devenv.cli.lifecycle", "devenv.cli.up", "devenv.config", "rich.text"),
    *("anymail.backends.mailgun", "environ", "jsonschema", "lxml.etree", "psycopg_pool"),
    *("django.core.management", "django.db.models", "django.forms", "django.test"),
    *("google.cloud.run_v2", "google.cloud.storage", "google.cloud.tasks_v2"),
    *("pydantic", "sentry_sdk", "validibot_shared.energyplus.envelopes"),
)


class ForkServer:
    """A process of an interpreter with packages loaded, and its forks, one at a time."""

    def __init__(self, interpreter: str, loaded: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = [interpreter, "-P", __file__, *loaded]
        self._environ = environ
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, *arguments: str, environ: Mapping[str, str], folder: Path, text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run `-c CODE`, `-m MODULE …` or `SCRIPT …` with `text` to read and these variables only."""
        with self._one_at_a_time:
            server = self._process = self._process or self._start()
            assert server.stdin
            assert server.stdout
            try:
                asked = json.dumps([arguments, dict(environ), str(folder), text])
                server.stdin.write(f"{asked}\n")
                server.stdin.flush()
                code, out, errors = json.loads(server.stdout.readline())
            except BaseException:  # a late answer must not be taken for that of the next call
                server.kill()
                self._process = None
                raise
        return subprocess.CompletedProcess(arguments, code, out, errors)

    def _start(self) -> "subprocess.Popen[str]":
        """Start the process that the others are forks of; it ends when its standard input is closed."""
        server = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(server.communicate)
        return server


_ours = ForkServer(sys.executable, _LOADED, {"PATH": os.defpath, "PYTHONPATH": str(ROOT)})


def python(
    *arguments: str, environ: Mapping[str, str], folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run `python -c CODE`, `-m MODULE …` or `SCRIPT …` in a folder with these variables only."""
    return _ours.run(*arguments, environ=environ, folder=folder)


def _serve(loaded: Sequence[str]) -> None:
    for name in loaded:
        import_module(name)
    gc.freeze()  # a collection would copy to each fork the memory that they share
    for line in sys.stdin:
        arguments, environ, folder, text = json.loads(line)
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as errors:
            given.write(text.encode())
            given.seek(0)
            child = os.fork()
            if not child:
                files = (given.fileno(), out.fileno(), errors.fileno())
                _become(arguments, environ, folder, files)
            _, status = os.waitpid(child, 0)
            told = [_read(out), _read(errors)]
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), *told]) + "\n")
        sys.stdout.flush()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _become(
    arguments: Sequence[str], environ: Mapping[str, str], folder: str, files: Sequence[int]
) -> NoReturn:
    """Run with what it reads and both outputs in files, which programs that it starts inherit."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.clear()  # noqa: TID251 - a process of its own
    os.environ.update(environ)  # noqa: TID251
    code = _run(arguments)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    """Run as the interpreter does; return the exit code."""
    try:
        match arguments:
            case ["-c", code]:
                exec(code, {"__name__": "__main__"})  # noqa: S102 - a test's own text
            case ["-m", module, *_]:
                sys.argv = [*arguments[1:]]
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case [script, *_]:
                sys.argv = [*arguments]
                runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1:])
