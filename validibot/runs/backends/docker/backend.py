"""The backend: from an attempt to a container, and from a container to what may be said of it."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning as Caution
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from containers import (
    Container,
    ContainerRefused,
    ContainerSpec,
    Engine,
    EngineUnavailable,
    ImageMissing,
    Network,
)
from validibot.core.storage import StorageError
from validibot.runs.backends.base import (
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Over,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.docker import ending, files
from validibot.runs.backends.docker.options import Options
from validibot.runs.backends.docker.watch import GRACE_SECONDS, Watch

# By this name containers know the machine that they run on.
HOST = "host.docker.internal"
_DIGEST = "io.validibot.image-digest"
_NAME = re.compile(r"attempt-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


@cache
def engine(owner: str) -> Engine:
    """Return the engine of this process: one connection for all of its threads."""
    return Engine(owner=owner)


class DockerBackend(ExecutionBackend):
    """OPTIONS: see `Options`. Files must live below a `file://` DATA_ROOT of the engine's machine.

    With `network: none` nobody calls back: the end of a container is the callback.
    """

    local = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._where = f"EXECUTION_BACKENDS[{alias!r}]"
        self._options = Options.parse(self._where, self.options)
        self.posts_callbacks = self._options.network is not Network.NONE

    def launch(self, request: LaunchRequest) -> Launch:
        try:
            digest = self._engine.digest(request.image)
            container = self._engine.start(self._spec(request, digest))
        except ImageMissing as error:
            message = f"{error} `make validators` builds those of this repository."
            raise LaunchError(message, permanent=True) from error
        except (ContainerRefused, files.FilesRefused) as error:
            raise LaunchError(str(error), permanent=True) from error
        except (EngineUnavailable, StorageError) as error:
            raise LaunchError(str(error)) from error
        Watch(
            container=container,
            request=request,
            max_output_bytes=self._options.output_mb * 2**20,
        ).start()
        return Launch(execution=container.name, image_digest=digest)

    def state(self, execution: str) -> ExecutionState:
        with _asking():
            container = self._engine.find(execution)
            if container is None:
                gone = "Its container is gone. Launch it again."
                return ExecutionState(phase=Phase.FAILED, execution=execution, message=gone)
            return _state(container)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        with _asking():
            container = self._engine.find(_name(files.bundle_of(input_uri).name))
            if container is None:
                return ExecutionState(phase=Phase.ABSENT)
            digest = container.labels().get(_DIGEST, "")
            return replace(_state(container), image_digest=digest)

    def cancel(self, execution: str) -> bool:
        with _asking():
            container = self._engine.find(execution)
            if container is None or container.exit() is not None:
                return False
            container.terminate(grace=GRACE_SECONDS)
        return True

    def sweep(self, over: Over) -> int:
        def unwanted(names: AbstractSet[str]) -> AbstractSet[str]:
            attempts = {UUID(found[1]): found[0] for name in names if (found := _NAME.match(name))}
            return {attempts[attempt] for attempt in over(attempts.keys())}

        with _asking():
            return len(self._engine.sweep_if(unwanted))

    def check(self) -> Sequence[CheckMessage]:
        if not settings.DATA_ROOT.startswith("file:"):
            message = f"{self._where}: containers are given files; DATA_ROOT must be file:///…"
            return [Error(message, id="validibot.runs.E003")]
        try:
            self._engine.ping()
        except EngineUnavailable as error:
            return [Caution(f"{self._where}: {error}", id="validibot.runs.W001")]
        return []

    @property
    def _engine(self) -> Engine:
        return engine(self._options.owner)

    def _spec(self, request: LaunchRequest, digest: str) -> ContainerSpec:
        """Raises FilesRefused, StorageError, EngineUnavailable, ContainerRefused."""
        options = self._options
        envelope = files.read_envelope(request.input_uri)
        # Pinned: a tag may be moved while we speak.
        image = f"{request.image.partition('@')[0]}@{digest}"
        user = options.user or self._engine.user(image) or _somebody()
        bundle = files.bundle_of(request.input_uri)
        files.let_in(bundle, user)
        memory_mb = min(request.memory_mb, options.memory_mb)
        return ContainerSpec(
            name=_name(str(request.attempt_id)),
            image=image,
            env={
                **options.environ,
                "VALIDIBOT_INPUT_URI": request.input_uri,
                "VALIDIBOT_OUTPUT_URI": request.output_uri,
                "VALIDIBOT_RUN_ID": str(request.run_id),
            },
            labels={
                _DIGEST: digest,
                **ending.labels(bundle=bundle, memory_mb=memory_mb, output_mb=options.output_mb),
            },
            memory_bytes=memory_mb * 2**20,
            cpus=options.cpus,
            user=user,
            network=options.network,
            network_name=options.network_name,
            mounts=files.mounts(envelope, request.input_uri),
            hosts=self._hosts(envelope),
        )

    def _hosts(self, envelope: ValidationInputEnvelope) -> dict[str, str]:
        """Lead the worker's name to this machine, where it cannot mean another."""
        host = urlsplit(str(envelope.context.callback_url or "")).hostname or ""
        inside = self._options.network is Network.CALLBACK and not self._options.network_name
        if host == HOST or (inside and host and not _is_address(host)):
            return {host: self._engine.callback_network().gateway}
        return {}


def _name(attempt: str) -> str:
    return f"attempt-{attempt}"


def _somebody() -> str:
    """Return who runs an image that is made for root: whoever we are, or nobody in particular."""
    return f"{os.geteuid()}:{os.getegid()}" if os.geteuid() else "1000:1000"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _state(container: Container) -> ExecutionState:
    ended = container.exit()
    if ended is None:
        return ExecutionState(phase=Phase.RUNNING, execution=container.name)
    return ending.state_of(container.name, ended, container.labels())


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except EngineUnavailable as error:
        raise StateUnavailable(str(error)) from error
