"""Python processes of the product and of devenv that start in milliseconds: forks of one with its packages loaded.

Settings are read once in the life of a process, so that a test of them needs a process for each set of
variables; most of its time would go into the imports of Django and of Google's clients. Tests of the command line
call it hundreds of times.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
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
_one_at_a_time = threading.Lock()


def python(
    *arguments: str, environ: Mapping[str, str], folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run `python -c CODE`, `-m MODULE …` or `SCRIPT …` in a folder with these variables only."""
    with _one_at_a_time:
        server = _server()
        assert server.stdin
        assert server.stdout
        try:
            server.stdin.write(json.dumps([arguments, dict(environ), str(folder)]) + "\n")
            server.stdin.flush()
            code, out, errors = json.loads(server.stdout.readline())
        except BaseException:  # a late answer must not be taken for that of the next call
            server.kill()
            _server.cache_clear()
            raise
    return subprocess.CompletedProcess(arguments, code, out, errors)


@cache
def _server() -> "subprocess.Popen[str]":
    """Start the process that the others are forks of; it ends when its standard input is closed."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forked"],
        cwd=ROOT,
        env={"PATH": os.defpath},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def _serve() -> None:
    for name in _LOADED:
        import_module(name)
    for line in sys.stdin:
        arguments, environ, folder = json.loads(line)
        with TemporaryFile() as out, TemporaryFile() as errors:
            child = os.fork()
            if not child:
                _become(arguments, environ, folder, out.fileno(), errors.fileno())
            _, status = os.waitpid(child, 0)
            told = [_read(out), _read(errors)]
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), *told]) + "\n")
        sys.stdout.flush()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _become(
    arguments: Sequence[str], environ: Mapping[str, str], folder: str, out: int, errors: int
) -> NoReturn:
    """Run with nothing to read and both outputs in files, which programs that it starts inherit."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, out, errors)):
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
    _serve()
