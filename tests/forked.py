"""Python processes that start in milliseconds: forks of one with its packages loaded.

Settings are read once in the life of a process, so that a test of them needs a process for each set of
variables; most of its time would go into the imports of Django and of Google's clients. Tests of the
command line call it hundreds of times, scripts of the documentation (`pages.path_of_forks`) dozens. The
server imports nothing of this repository itself, so that other programs in Python, like gcloud, are
started in the same way.
"""

import atexit
import gc
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO, NoReturn

ROOT = Path(__file__).parents[1]
# None of them reads the settings while it is imported.
_LOADED = (
    *("devenv.cli.commands", "devenv.cli.lifecycle", "devenv.cli.up", "devenv.config", "rich.text"),
    *("anymail.backends.mailgun", "environ", "jsonschema", "lxml.etree", "psycopg_pool"),
    *("django.core.management", "django.db.models", "django.forms", "django.test"),
    *("django.db.backends.postgresql.base", "django.db.migrations.executor"),
    *("django.template.loader", "django.urls", "django.views.generic", "django_stubs_ext"),
    *("cachecontrol", "fido2.server", "requests_hardened", "yaml"),
    *("google.cloud.run_v2", "google.cloud.storage", "google.cloud.tasks_v2"),
    *("pydantic", "sentry_sdk", "validibot_shared.energyplus.envelopes"),
)


class ForkServer:
    """A process of an interpreter with packages loaded, which forks itself for each connection."""

    def __init__(self, interpreter: str, loaded: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = [interpreter, "-P", __file__]
        self._loaded = loaded
        self._environ = environ

    def run(
        self, *arguments: str, environ: Mapping[str, str], folder: Path, text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run `-c CODE`, `-m MODULE …` or `SCRIPT …` with `text` to read and these variables only."""
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as errors:
            given.write(text.encode())
            given.seek(0)
            process = Fork(
                self.address,
                arguments,
                environ=environ,
                folder=folder,
                files=[each.fileno() for each in (given, out, errors)],
            )
            code = process.wait()
            return subprocess.CompletedProcess(arguments, code, _read(out), _read(errors))

    @cached_property
    def address(self) -> str:
        """The socket of the server, which is started now and ends when its input is closed."""
        from tests.guardian import variables  # noqa: PLC0415 - the server has no pytest

        folder = mkdtemp(prefix="forked-")
        address = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            server = subprocess.Popen(
                [*self._command, str(listener.fileno()), *self._loaded],
                cwd=ROOT,
                env={**self._environ, **variables()},
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        atexit.register(shutil.rmtree, folder)
        atexit.register(server.communicate)
        return address


class Fork:
    """A fork of a server, which runs beside its caller."""

    def __init__(
        self,
        address: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        files: Sequence[int],
    ) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(address)
        socket.send_fds(self._server, [b"."], files)
        request = json.dumps([arguments, dict(environ), str(folder)])
        self._server.sendall(f"{request}\n".encode())
        # No more than a line may be taken from the socket, which `poll` looks at.
        self._lines = self._server.makefile("rb", buffering=0)
        self.pid = int(self._lines.readline())
        self._code: int | None = None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._code if self._code is not None or not self._has_ended(0) else self.wait()

    def wait(self, seconds: float | None = None) -> int:
        """Return the exit code once it has ended. Raises AssertionError if it does not in time."""
        if self._code is None:
            assert self._has_ended(seconds), f"{self.pid} does not end"
            self._code = int(self._lines.readline())
            self._lines.close()
            self._server.close()
        return self._code

    def _has_ended(self, seconds: float | None) -> bool:
        return bool(select.select([self._server], [], [], seconds)[0])


@cache
def _ours() -> ForkServer:
    environ = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    if sys.pycache_prefix:
        environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    return ForkServer(sys.executable, _LOADED, environ)


def python(
    *arguments: str, environ: Mapping[str, str], folder: Path = ROOT, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `python -c CODE`, `-m MODULE …` or `SCRIPT …` in a folder with these variables only.

    It reads `text`.
    """
    return _ours().run(*arguments, environ=environ, folder=folder, text=text)


def start(*arguments: str, environ: Mapping[str, str], output: IO[bytes]) -> Fork:
    """Start what `python` runs, with both outputs in one file."""
    with open(os.devnull) as nothing:  # noqa: PTH123 - not a file of anybody
        number = output.fileno()
        files = [nothing.fileno(), number, number]
        return Fork(_ours().address, arguments, environ=environ, folder=ROOT, files=files)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def put_programs(folder: Path) -> None:
    """Write `python` and `devenv` into a new folder; scripts that find them there run such forks."""
    folder.mkdir()
    for name, first in {"python": [], "devenv": ["-m", "devenv"]}.items():
        program = folder / name
        program.write_text(_PROGRAM.format(sys.executable, _ours().address, first))
        program.chmod(0o755)


_PROGRAM = """\
#!{} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    request = [{!r} + sys.argv[1:], dict(os.environ), os.getcwd()]
    server.sendall(json.dumps(request).encode() + b"\\n")
    lines = server.makefile()
    _, code = int(lines.readline()), int(lines.readline())
sys.exit(code if code >= 0 else 128 - code)
"""


class _Server:
    """The loop of a server: answers each connection with a process id and, at its end, its exit code."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.asked: dict[int, socket.socket] = {}
        self.events = selectors.DefaultSelector()

    def serve(self) -> None:
        ended, note = socket.socketpair()
        ended.setblocking(False)
        note.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(note.fileno(), warn_on_full_buffer=False)
        for file in (sys.stdin, self.listener, ended):
            self.events.register(file, selectors.EVENT_READ)
        while True:
            for key, _ in self.events.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self.listener:
                    self._start(self.listener.accept()[0])
                elif key.fileobj is ended:
                    ended.recv(4096)
                    self._answer()
                else:
                    self._stop(key.data)

    def _start(self, client: socket.socket) -> None:
        _, files, _, _ = socket.recv_fds(client, 1, 3)
        with client.makefile() as lines:
            request = lines.readline()
        child = 0
        if request.endswith("\n"):  # else the client has ended itself
            child = os.fork()
            if not child:
                self._leave(client)
                arguments, environ, folder = json.loads(request)
                _become(arguments, environ, folder, files)
        for file in files:
            os.close(file)
        if not child:
            client.close()
            return
        with suppress(OSError):  # it has ended itself
            client.sendall(f"{child}\n".encode())
        self.asked[child] = client
        self.events.register(client, selectors.EVENT_READ, child)

    def _leave(self, client: socket.socket) -> None:
        """Close in a fork what belongs to the server: a client is answered when all copies are closed."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.events.close()
        for each in (self.listener, client, *self.asked.values()):
            each.close()

    def _answer(self) -> None:
        for child in list(self.asked):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                client = self.asked.pop(child)
                with suppress(KeyError):  # of a client that has ended itself
                    self.events.unregister(client)
                with client, suppress(OSError):
                    client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def _stop(self, child: int) -> None:
        """End the process of a client that has ended itself."""
        if child in self.asked:
            self.events.unregister(self.asked[child])
            os.kill(child, signal.SIGTERM)


def _become(
    arguments: Sequence[str], environ: Mapping[str, str], folder: str, files: Sequence[int]
) -> NoReturn:
    """Run with what it reads and both outputs in files, which programs that it starts inherit."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()  # noqa: TID251 - a process of its own
    os.environ.update(environ)  # noqa: TID251
    code = _run(arguments)
    try:  # as the interpreter ends, and forks of multiprocessing do
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # an output is closed
        pass
    finally:
        os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    """Run as the interpreter does; return the exit code."""
    try:
        match arguments:
            case ["-c", code, *rest]:
                sys.argv = ["-c", *rest]
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
    for name in sys.argv[2:]:
        import_module(name)
    gc.freeze()  # a collection would copy to each fork the memory that they share
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
