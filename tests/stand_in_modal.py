"""Stand-in for the package `modal`: the parts that we call, with the same signatures.

`tests/unit/deploy/test_modal_package.py` compares them with the package. Functions that an app has
deployed run in threads, and the programs that they start as processes of this machine.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

ROOT = Path(__file__).parents[1]
_current: ContextVar["_StandInCall"] = ContextVar("call")
_run = subprocess.run


class Error(Exception):
    """Base class of the package's errors."""


def _error(name: str, base: type[Exception] = Error) -> type[Exception]:
    return type(name, (base,), {})


_InvalidError = _error("InvalidError")
_TimeoutError = _error("TimeoutError")
exception = SimpleNamespace(
    Error=Error,
    InvalidError=_InvalidError,
    ConflictError=_error("ConflictError", _InvalidError),
    FunctionTimeoutError=_error("FunctionTimeoutError", _TimeoutError),
    OutputExpiredError=_error("OutputExpiredError", _TimeoutError),
    **{
        name: _error(name)
        for name in (
            "AuthError",
            "DeserializationError",
            "ExecutionError",
            "InternalFailure",
            "NotFoundError",
            "PermissionDeniedError",
            "RemoteError",
            "RequestSizeError",
            "ResourceExhaustedError",
            "ServiceError",
            "UnimplementedError",
            "VersionError",
        )
    },
)


@dataclass
class _StandInCall:
    """Call of a function: its program while that runs, and its result or error in the end."""

    id: str
    thread: threading.Thread | None = None
    held: bool = False
    canceled: bool = False
    process: "subprocess.Popen[bytes] | None" = None
    timed_out: bool = False
    result: Any = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def run(self, raw: Callable[..., Any], args: tuple[Any, ...], timeout: float) -> None:
        token = _current.set(self)
        timer = threading.Timer(timeout, self._time_out)
        timer.start()
        try:
            self.result = raw(*args)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            self.error = error
        finally:
            timer.cancel()
            timer.join()
            _current.reset(token)
        if self.timed_out:
            self.error = exception.FunctionTimeoutError("Task's current input hit its timeout")
        elif self.canceled:
            self.error = exception.RemoteError("")
        self.done.set()

    def wait_for_thread(self) -> None:
        """Wait until no code of the call runs, if it ever began."""
        if self.thread and self.thread.ident:
            self.thread.join(90)

    def _time_out(self) -> None:
        self.timed_out = True
        if self.process:
            self.process.kill()


@dataclass
class StandInServer:
    """Everything that is deployed and called.

    `errors` are raised by the methods of their names, once each. A server that `holds` begins no call.
    """

    functions: dict[tuple[str, str], tuple[Callable[..., Any], dict[str, Any]]] = field(
        default_factory=dict
    )
    calls: dict[str, _StandInCall] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))
    holds: bool = False

    def fail(self, method: str) -> None:
        if error := self.errors.pop(method, None):
            raise error

    def release(self) -> None:
        """Begin the calls that were held."""
        for call in self.calls.values():
            if call.held and call.thread:
                call.held = False
                call.thread.start()

    def join(self) -> None:
        """Wait until all calls that began have ended."""
        for call in self.calls.values():
            assert call.held or call.done.wait(90), call.id


server = StandInServer()


def reset() -> None:
    """Forget everything that is deployed and called."""
    server.__init__()  # type: ignore[misc] # the same object: others have imported it


def start_program(args: Any, **options: Any) -> Any:
    """Start the program of a validator in place of `subprocess.run`, and others as that does.

    There is no image and no metadata server.
    """
    if options.get("cwd") != "/app":
        return _run(args, **options)
    call = _current.get()
    if call.canceled:
        raise OSError("the container is gone")
    program = sys.executable if args[0] == "python" else args[0]
    environ = options["env"] | {"GCE_METADATA_HOST": "127.0.0.1:9"}
    call.process = subprocess.Popen([program, *args[1:]], env=environ, cwd=ROOT)
    return SimpleNamespace(returncode=call.process.wait())


class Secret:
    """Secret of the workspace."""

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        required_keys: list[str] = [],  # noqa: B006
        client: Any = None,
    ) -> str:
        return f"{name}: {', '.join(required_keys)}"


@dataclass
class Image:
    """Image of a function."""

    tag: str
    secret: Any = None
    commands: tuple[str, ...] = ()
    entry: list[str] | None = None

    @staticmethod
    def from_registry(
        tag: str,
        secret: Any = None,
        *,
        setup_dockerfile_commands: list[str] = [],  # noqa: B006
        force_build: bool = False,
        add_python: str | None = None,
        **kwargs: Any,
    ) -> "Image":
        return Image(tag, secret, tuple(setup_dockerfile_commands))

    def entrypoint(self, entrypoint_commands: list[str]) -> "Image":
        return Image(self.tag, self.secret, self.commands, entrypoint_commands)


class App:
    """App whose functions can be called once it is deployed."""

    def __init__(self, name: str | None = None) -> None:
        self.name = str(name)
        self._functions: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {}

    def function(
        self,
        *,
        image: Any = None,
        env: dict[str, str | None] | None = None,
        serialized: bool = False,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        retries: int | None = None,
        timeout: int = 300,
        name: str | None = None,
        region: str | Collection[str] | None = None,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        include_source: bool | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        options = {each: value for each, value in locals().items() if each != "self"}

        def register(raw: Callable[..., Any]) -> Callable[..., Any]:
            self._functions[str(name)] = (raw, options)
            return raw

        return register

    def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: Any = None,
        strategy: str = "rolling",
    ) -> Self:
        server.fail("deploy")
        for each, function in self._functions.items():
            server.functions[self.name, each] = function
        return self


class Function:
    """Deployed function, found by its name."""

    def __init__(self, app: str, name: str, timeout: float | None = None) -> None:
        self._key = (app, name)
        self._timeout = timeout

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: Any = None,
    ) -> "Function":
        return cls(app_name, name)

    def hydrate(self, client: Any = None) -> Self:
        server.fail("hydrate")
        if self._key not in server.functions:
            raise exception.NotFoundError(f"Function {'/'.join(self._key)} is not deployed")
        return self

    def with_options(self, *, timeout: int | None = None) -> "Function":
        return Function(*self._key, timeout=timeout)

    def spawn(self, *args: Any, **kwargs: Any) -> "FunctionCall":
        self.hydrate()
        server.fail("spawn before")
        raw, options = server.functions[self._key]
        call = _StandInCall(f"fc-{next(server.numbers)}", held=server.holds)
        server.calls[call.id] = call
        call.thread = threading.Thread(
            target=call.run, args=(raw, args, self._timeout or options["timeout"]), name=call.id
        )
        if not call.held:
            call.thread.start()
        server.fail("spawn")
        return FunctionCall(call.id)


class FunctionCall:
    """Call of a function, found by its id."""

    def __init__(self, object_id: str) -> None:
        self.object_id = object_id

    @classmethod
    def from_id(cls, function_call_id: str, client: Any = None) -> "FunctionCall":
        return cls(function_call_id)

    def get(self, timeout: float | None = None, *, index: int = 0) -> Any:
        server.fail("get")
        if self.object_id not in server.calls:
            raise exception.NotFoundError(f"{self.object_id} not found")
        call = server.calls[self.object_id]
        if not call.done.wait(timeout):
            raise TimeoutError
        if call.error:
            raise call.error
        return call.result

    def cancel(self, terminate_containers: bool = False) -> None:
        server.fail("cancel")
        call = server.calls[self.object_id]
        call.canceled = True
        if call.process:
            call.process.kill()
        elif call.held:
            call.held = False  # it never begins
            call.error = exception.RemoteError("")
            call.done.set()


def current_function_call_id() -> str | None:
    """Return the id of the call whose function runs in this thread."""
    return _current.get().id
