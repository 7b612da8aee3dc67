"""Containers that were started: wait for them, read their logs, end and remove them.

Every method may block. An engine that restarts is waited for: it may have kept its containers.
"""

import math
import signal
import struct
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import docker
from docker.errors import APIError, NotFound

from containers.client import TIMEOUT, Client
from containers.spec import ContainerExit, EngineUnavailable

OUTAGE = 300.0  # seconds without an engine after which a container counts as lost
MAX_LINE_BYTES = 16_384
_POLL_INTERVAL = 30  # seconds after which a wait checks whether the engine still answers
_PAUSE = 0.5
_FRAME = struct.Struct(">B3xL")
STDOUT, STDERR = 1, 2  # of a frame
ENDED = ("exited", "dead")
_UNOBSERVED = 255  # the engine's exit code for a container whose end it did not see


class Container:
    """Container of the engine. `name` is that of its spec, `id` the engine's."""

    def __init__(
        self,
        client: Client,
        *,
        id: str,  # noqa: A002
        name: str,
        seen: bool = True,
        removed: Callable[[], object] | None = None,
    ) -> None:
        """Create a handle; `seen` is False for a container that had ended when it was found.

        `removed` is called after the removal, for what belongs to this container alone.
        """
        self.id = id
        self.name = name
        self._client = client
        self._seen = seen
        self._terminated = False
        self._removed = removed

    def wait(self) -> ContainerExit:
        """Block until the container has ended.

        An engine that restarts is waited for; a container that it ended meanwhile is `lost`.
        """
        outage = Outage()
        while not outage.too_long:
            with outage:
                self._block()
            self._seen = self._seen and not outage.seen
            with outage:
                if ended := self.exit():
                    return ended
        return ContainerExit(lost=True)

    def exit(self) -> ContainerExit | None:
        """Return the exit, or None while the container runs. Raises EngineUnavailable."""
        try:
            with self._client.api() as api:
                state = api.inspect_container(self.id)["State"]
        except NotFound:
            return ContainerExit(lost=True)
        if state["Status"] not in ENDED:
            return None
        ended = _exit(state, terminated=self._terminated)
        return ended if self._seen else _if_unobserved(ended)

    def labels(self) -> Mapping[str, str]:
        """Return the labels; none once the container is gone. Raises EngineUnavailable."""
        try:
            with self._client.api() as api:
                labels: Mapping[str, str] = api.inspect_container(self.id)["Config"]["Labels"]
        except NotFound:
            return {}
        return labels

    def memory(self) -> int:
        """Return the bytes of memory that it holds at the moment, 0 if the engine does not say."""
        with suppress(APIError, EngineUnavailable), self._client.api() as api:
            found = api.stats(self.id, stream=False, one_shot=True)
            return int(found.get("memory_stats", {}).get("usage", 0))
        return 0

    def terminate(self, *, grace: float) -> None:
        """Send SIGTERM and, `grace` seconds later, SIGKILL; return when the container has ended.

        The engine does both, so the container ends even if this process dies meanwhile.
        Raises EngineUnavailable.
        """
        if self.exit() is not None:
            return
        self._terminated = True
        with suppress(APIError), self._client.api() as api:
            api.stop(self.id, timeout=math.ceil(grace))

    def follow(
        self,
        on_line: Callable[[str], object],
        *,
        max_bytes: int,
        max_line: int = MAX_LINE_BYTES,
        on_error_line: Callable[[str], object] | None = None,
    ) -> None:
        """Call `on_line` for each line of the log until the container ends or the log is too long.

        Lines of stderr go to `on_error_line`, if there is one. Lines of more than `max_line` bytes
        come in pieces.
        """
        lines = LogLines(on_line, max_bytes, max_line=max_line, on_error_line=on_error_line)
        with (
            suppress(EngineUnavailable, APIError),
            self._client.api() as api,
            closing(_logs(api, self.id)) as frames,
        ):
            all(lines.feed(data, stream) for stream, data in frames)
        lines.close()

    def remove(self) -> None:
        """Remove the container, even while it runs. Raises EngineUnavailable."""
        # An APIError: it is gone, or being removed, or the engine cannot remove it now.
        with self._client.api() as api, suppress(APIError):
            api.remove_container(self.id, force=True, v=True)
        if self._removed:
            self._removed()

    def _block(self) -> None:
        """Return when the container has ended, or after the poll interval."""
        start = time.monotonic()
        try:
            with self._client.api() as api:
                api.wait(self.id, timeout=_POLL_INTERVAL)
        except APIError:
            time.sleep(_PAUSE)
        except EngineUnavailable:
            if time.monotonic() - start < _POLL_INTERVAL:
                raise


class Outage:
    """Context manager that suppresses EngineUnavailable, with a pause, and measures how long."""

    def __init__(self) -> None:
        self.seen = False
        self._since: float | None = None

    @property
    def too_long(self) -> bool:
        return self._since is not None and time.monotonic() - self._since > OUTAGE

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: object, at: object) -> bool:
        if kind is None:
            self._since = None
            return False
        if not issubclass(kind, EngineUnavailable):
            return False
        self.seen = True
        self._since = self._since or time.monotonic()
        time.sleep(_PAUSE)
        return True


class LogLines:
    """Splits the bytes of two streams into lines and cuts them off after `max_bytes` together."""

    def __init__(
        self,
        on_line: Callable[[str], object],
        max_bytes: int,
        *,
        max_line: int = MAX_LINE_BYTES,
        on_error_line: Callable[[str], object] | None = None,
    ) -> None:
        self._on_line = {STDOUT: on_line, STDERR: on_error_line or on_line}
        self._most = max_bytes
        self._left = max_bytes
        self._max_line = max_line
        self._rests = {STDOUT: b"", STDERR: b""}

    def feed(self, data: bytes, stream: int = STDOUT) -> bool:
        """Add bytes; return whether there is room for more."""
        stream = STDERR if stream == STDERR else STDOUT
        taken = data[: self._left]
        self._left -= len(taken)
        *lines, rest = (self._rests[stream] + taken).split(b"\n")
        for line in lines:
            self._report(line, stream)
        while len(rest) >= self._max_line:
            self._report(rest[: self._max_line], stream)
            rest = rest[self._max_line :]
        self._rests[stream] = rest
        if len(taken) == len(data):
            return True
        self.close()
        notice = f"(The log is longer than {self._most} bytes; the rest is omitted.)"
        self._on_line[STDOUT](notice)
        return False

    def close(self) -> None:
        """Report the last lines, which have no line end."""
        for stream, rest in self._rests.items():
            if rest:
                self._report(rest, stream)
            self._rests[stream] = b""

    def _report(self, line: bytes, stream: int) -> None:
        text = line.removesuffix(b"\r")
        for at in range(0, max(1, len(text)), self._max_line):
            piece = text[at : at + self._max_line]
            self._on_line[stream](piece.decode(errors="replace"))


def _logs(api: docker.APIClient, id_: str) -> Generator[tuple[int, bytes]]:
    """Yield stream and bytes of the frames of the engine's API ("Stream format").

    The SDK's own `logs` leaks a connection when the caller stops early.
    """
    url = f"{api.base_url}/v{api.api_version}/containers/{id_}/logs"
    wanted = {"follow": True, "stdout": True, "stderr": True}
    with api.get(url, params=wanted, stream=True, timeout=(TIMEOUT, None)) as answer:
        answer.raise_for_status()
        while header := answer.raw.read(_FRAME.size):
            stream, size = _FRAME.unpack(header)
            yield stream, answer.raw.read(size)


def _exit(state: Mapping[str, Any], *, terminated: bool) -> ContainerExit:
    """Read the engine's State. By the convention of shells, 128 + n is signal n."""
    code, short = state["ExitCode"], bool(state["OOMKilled"])
    number = code - 128 if code - 128 in signal.valid_signals() else 0
    own = short and number == signal.SIGKILL and not terminated
    return ContainerExit(
        code=0 if number else code,
        signal=number,
        out_of_memory=own,
        child_out_of_memory=short and not own,
        terminated=terminated,
    )


def _if_unobserved(ended: ContainerExit) -> ContainerExit:
    """Return the exit of a container that ended unobserved: the engine may have ended it."""
    by_engine = ended.signal in (signal.SIGTERM, signal.SIGKILL) or ended.code == _UNOBSERVED
    known = ended.terminated or ended.out_of_memory
    return replace(ended, lost=True) if by_engine and not known else ended
