"""A container that was started: waited for, followed, ended and removed. Every method may block."""

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
from containers.errors import EngineUnavailable
from containers.lines import Lines
from containers.spec import Exit

OUTAGE = 300.0  # seconds without an engine after which a container is given up
_LOOK = 30  # seconds after which a wait looks again whether the engine still answers
_PAUSE = 0.5
_FRAME = struct.Struct(">4xL")
ENDED = ("exited", "dead")
_ABNORMAL = 255  # what the engine says of a container that it did not see end


class Container:
    """`name` is that of its spec, `id` the engine's."""

    def __init__(self, client: Client, *, id: str, name: str, seen: bool = True) -> None:  # noqa: A002
        """`seen` is False for one that had ended when it was found."""
        self.id = id
        self.name = name
        self._client = client
        self._seen = seen
        self._terminated = False

    def wait(self) -> Exit:
        """Block until it has ended.

        An engine that restarts is waited for; what ended by its hand meanwhile is `lost`.
        """
        outage = Outage()
        while not outage.too_long:
            with outage:
                self._block()
            self._seen = self._seen and not outage.seen
            with outage:
                if ended := self.exit():
                    return ended
        return Exit(lost=True)

    def exit(self) -> Exit | None:
        """Return how it ended; None while it runs. Raises EngineUnavailable."""
        try:
            with self._client.api() as api:
                state = api.inspect_container(self.id)["State"]
        except NotFound:
            return Exit(lost=True)
        if state["Status"] not in ENDED:
            return None
        ended = _exit(state, terminated=self._terminated)
        return ended if self._seen else _without_witness(ended)

    def labels(self) -> Mapping[str, str]:
        """Return what it carries; nothing once it is gone. Raises EngineUnavailable."""
        try:
            with self._client.api() as api:
                labels: Mapping[str, str] = api.inspect_container(self.id)["Config"]["Labels"]
        except NotFound:
            return {}
        return labels

    def terminate(self, *, grace: float) -> None:
        """Send SIGTERM and, `grace` seconds later, SIGKILL; return when it has ended.

        The engine does both, so that it ends even if this process does not live to see it.
        Raises EngineUnavailable.
        """
        if self.exit() is not None:
            return
        self._terminated = True
        with suppress(APIError), self._client.api() as api:
            api.stop(self.id, timeout=math.ceil(grace))

    def follow(self, on_line: Callable[[str], object], *, max_bytes: int) -> None:
        """Call `on_line` for each line it has written and writes, until it ends or says too much."""
        lines = Lines(on_line, max_bytes)
        with (
            suppress(EngineUnavailable, APIError),
            self._client.api() as api,
            closing(_logs(api, self.id)) as stream,
        ):
            all(map(lines.feed, stream))
        lines.close()

    def remove(self) -> None:
        """Remove it, whatever it does. Raises EngineUnavailable."""
        # It is gone already, or going, or the engine cannot let go of it now.
        with self._client.api() as api, suppress(APIError):
            api.remove_container(self.id, force=True, v=True)

    def _block(self) -> None:
        """Return when it has ended, or when it is time to look. Raises EngineUnavailable."""
        start = time.monotonic()
        try:
            with self._client.api() as api:
                api.wait(self.id, timeout=_LOOK)
        except APIError:
            time.sleep(_PAUSE)
        except EngineUnavailable:
            if time.monotonic() - start < _LOOK:
                raise


class Outage:
    """Swallows EngineUnavailable for a while: each time it happens, a pause follows."""

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


def _logs(api: docker.APIClient, id_: str) -> Generator[bytes]:
    """Yield what it wrote and writes, out of the frames of the engine's API ("Stream format").

    The SDK's own `logs` leaves a connection open when it is left early.
    """
    url = f"{api.base_url}/v{api.api_version}/containers/{id_}/logs"
    wanted = {"follow": True, "stdout": True, "stderr": True}
    with api.get(url, params=wanted, stream=True, timeout=(TIMEOUT, None)) as answer:
        answer.raise_for_status()
        while header := answer.raw.read(_FRAME.size):
            yield answer.raw.read(_FRAME.unpack(header)[0])


def _exit(state: Mapping[str, Any], *, terminated: bool) -> Exit:
    """Read the engine's State. A shell's rule tells signals: 128 + its number."""
    code, short = state["ExitCode"], bool(state["OOMKilled"])
    number = code - 128 if code - 128 in signal.valid_signals() else 0
    own = short and number == signal.SIGKILL and not terminated
    return Exit(
        code=0 if number else code,
        signal=number,
        out_of_memory=own,
        child_out_of_memory=short and not own,
        terminated=terminated,
    )


def _without_witness(ended: Exit) -> Exit:
    """Judge what ended while nobody looked: an engine that stops takes its containers with it."""
    by_engine = ended.signal in (signal.SIGTERM, signal.SIGKILL) or ended.code == _ABNORMAL
    known = ended.terminated or ended.out_of_memory
    return replace(ended, lost=True) if by_engine and not known else ended
