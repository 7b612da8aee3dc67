"""Python processes of the product that start in milliseconds: forks of one with its packages loaded.

Settings are read once in the life of a process, so that a test of them needs a process for each set of
variables; most of its time would go into the imports of Django and of Google's clients.
"""

import atexit
import io
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
# None of them reads the settings while it is imported.
_LOADED = (
    *("anymail.backends.mailgun", "environ", "jsonschema", "lxml.etree", "psycopg_pool"),
    *("django.core.management", "django.db.models", "django.forms", "django.test"),
    *("google.cloud.run_v2", "google.cloud.storage", "google.cloud.tasks_v2"),
    *("pydantic", "sentry_sdk", "validibot_shared.energyplus.envelopes"),
)


def python(*arguments: str, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `python -c CODE`, `-m MODULE …` or `SCRIPT …` in the root folder with these variables only."""
    server = _server()
    assert server.stdin
    assert server.stdout
    server.stdin.write(json.dumps([arguments, dict(environ)]) + "\n")
    server.stdin.flush()
    code, out, errors = json.loads(server.stdout.readline())
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
        arguments, environ = json.loads(line)
        reader, writer = os.pipe()
        if child := os.fork():
            os.close(writer)
            with os.fdopen(reader) as answer:
                sys.stdout.write(f"{answer.read()}\n")
                sys.stdout.flush()
            os.waitpid(child, 0)
        else:
            _answer(arguments, environ, writer)
            os._exit(0)


def _answer(arguments: Sequence[str], environ: Mapping[str, str], writer: int) -> None:
    os.environ.clear()  # noqa: TID251 - a process of its own
    os.environ.update(environ)  # noqa: TID251
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        code = _run(arguments)
    with os.fdopen(writer, "w") as answer:
        json.dump([code, out.getvalue(), errors.getvalue()], answer)


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
