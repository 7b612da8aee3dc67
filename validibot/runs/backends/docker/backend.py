"""Execution backend that runs validators as containers of a Docker engine on this machine."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning as CheckWarning
from django.utils.translation import gettext as _
from pydantic import Field
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from containers import (
    Container,
    ContainerEngine,
    ContainerRefused,
    ContainerSpec,
    EngineUnavailable,
    ImageMissing,
    Network,
)
from validators.sdk.manifest import NetworkReach
from validibot.core.storage import StorageError
from validibot.runs.backends.base import (
    BackendOptions,
    ExecutionBackend,
    ExecutionState,
    ImageNeeds,
    JobDefinition,
    JobRefused,
    Launch,
    LaunchError,
    LaunchRequest,
    Over,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.docker import files
from validibot.runs.backends.docker.watch import (
    GRACE_SECONDS,
    Watch,
    exit_labels,
    final_state,
)

# Host name of this machine inside containers.
HOST = "host.docker.internal"
_DIGEST = "io.validibot.image-digest"
# Variables that are of use only where their receiver can be reached.
_REACHED_FROM = {
    "WORKER_API_KEY": (Network.CALLBACK, Network.OPEN),
    "SENTRY_DSN": (Network.OPEN,),
}
_NAME = re.compile(r"attempt-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


@cache
def engine(owner: str) -> ContainerEngine:
    """Return the engine of this process: one connection for all of its threads."""
    return ContainerEngine(owner=owner)


def _own_name() -> str:
    """Return the owner of this deployment's containers, different from others on the engine."""
    return f"validibot-{hashlib.sha256(settings.DATA_ROOT.encode()).hexdigest()[:12]}"


type _Megabytes = Annotated[int, Field(gt=0, lt=2**31)]


class DockerOptions(BackendOptions):
    """OPTIONS of the Docker backend.

    `network` is the reach of containers: `callback`, `none` (then validators do not call back) or
    `open`; `network_name` is an existing network to use instead of our own. `memory_mb` and `cpus` are
    the most that a container gets, `output_mb` the most that it may write. `user` (`uid:gid`) runs in
    the container; by default the user of the image, unless that is root. `environ` are further
    variables. `owner` marks our containers on the engine.
    A custom validator gets the network that it asks for, and never more than `network`.
    """

    network: Annotated[Network, Field(strict=False)] = Network.CALLBACK
    network_name: str = ""
    memory_mb: _Megabytes = 65_536
    cpus: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    output_mb: _Megabytes = 2048
    user: Annotated[str, Field(pattern=r"^(\d{1,9}:\d{1,9})?$")] = ""
    owner: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,40}$")] = Field(
        default_factory=_own_name
    )
    environ: dict[str, str] = {}


class DockerBackend(ExecutionBackend):
    """Execution backend for a Docker engine. DATA_ROOT must be a folder of the engine's machine.

    With `network: none` validators do not call back: the end of a container is reported instead.
    """

    options_class: ClassVar[type[BackendOptions]] = DockerOptions
    options: DockerOptions
    local = True
    runs_images = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.posts_callbacks = self.options.network is not Network.NONE

    def refusals(self, needs: ImageNeeds) -> Iterator[str]:
        yield from super().refusals(needs)
        if needs.network is NetworkReach.INTERNET and self.options.network is not Network.OPEN:
            text = _(
                "`network` is 'internet', but containers of this site have the network %(network)s. Choose"
                " 'platform' or 'none', or ask its operator to set CONTAINER_NETWORK=open."
            )
            yield text % {"network": repr(str(self.options.network))}

    def calls_back(self, network: NetworkReach | None) -> bool:
        return self._network(network) is not Network.NONE

    def launch(self, request: LaunchRequest) -> Launch:
        not_accepted = True
        try:
            digest = self._engine.digest(request.image)
            spec = self._spec(request, digest)
            not_accepted = False  # from here on the engine may start it and fail to answer
            container = self._engine.start(spec)
        except ImageMissing as error:
            message = f"{error} `make validators` builds the images of this repository."
            raise LaunchError(message, permanent=True) from error
        except (ContainerRefused, files.FilesRefused) as error:
            raise LaunchError(str(error), permanent=True) from error
        except (EngineUnavailable, StorageError) as error:
            raise LaunchError(str(error), not_accepted=not_accepted) from error
        Watch(
            container=container,
            request=request,
            max_output_bytes=self.options.output_mb * 2**20,
        ).start()
        return Launch(execution=container.name, image_digest=digest)

    def prepare(self, job: JobDefinition) -> None:
        """Make sure that the engine has the image; nothing is fetched from a registry."""
        with _translated():
            try:
                self._engine.digest(job.image)
            except ImageMissing as error:
                raise JobRefused(f"{error} Then prepare the job again.") from error

    def state(self, execution: str) -> ExecutionState:
        with _translated():
            container = self._engine.find(execution)
            if container is None:
                gone = "Its container was removed. Launch the run again."
                return ExecutionState(phase=Phase.FAILED, execution=execution, message=gone)
            return _state(container)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        with _translated():
            container = self._engine.find(_name(files.bundle_of(input_uri).name))
            if container is None:
                return ExecutionState(phase=Phase.ABSENT)
            digest = container.labels().get(_DIGEST, "")
            return replace(_state(container), image_digest=digest)

    def cancel(self, execution: str) -> bool:
        with _translated():
            container = self._engine.find(execution)
            if container is None or container.exit() is not None:
                return False
            container.terminate(grace=GRACE_SECONDS)
        return True

    def sweep(self, over: Over) -> int:
        def unwanted(names: AbstractSet[str]) -> AbstractSet[str]:
            attempts = {UUID(found[1]): found[0] for name in names if (found := _NAME.match(name))}
            return {attempts[attempt] for attempt in over(attempts.keys())}

        with _translated():
            return len(self._engine.sweep_if(unwanted))

    def check(self) -> Sequence[CheckMessage]:
        if not settings.DATA_ROOT.startswith("file:"):
            message = (
                f"{self.where}: DATA_ROOT must be file:///…, a folder that containers can mount."
            )
            return [Error(message, id="validibot.runs.E003")]
        try:
            self._engine.ping()
        except EngineUnavailable as error:
            return [CheckWarning(f"{self.where}: {error}", id="validibot.runs.W001")]
        return []

    @property
    def _engine(self) -> ContainerEngine:
        return engine(self.options.owner)

    def _spec(self, request: LaunchRequest, digest: str) -> ContainerSpec:
        """Return the container of an attempt.

        Raises FilesRefused, StorageError, EngineUnavailable, ContainerRefused.
        """
        options = self.options
        envelope = files.read_envelope(request.input_uri)
        # Pinned: the tag may move meanwhile.
        image = f"{request.image.partition('@')[0]}@{digest}"
        user = options.user or self._engine.user(image) or _default_user()
        bundle = files.bundle_of(request.input_uri)
        files.allow_writes(bundle, user)
        memory_mb = min(request.memory_mb, options.memory_mb)
        network = self._network(request.network)
        return ContainerSpec(
            name=_name(str(request.attempt_id)),
            image=image,
            env={
                **request.secrets,
                **self._environ(network),
                "VALIDIBOT_INPUT_URI": request.input_uri,
                "VALIDIBOT_OUTPUT_URI": request.output_uri,
                "VALIDIBOT_RUN_ID": str(request.run_id),
            },
            labels={
                _DIGEST: digest,
                **exit_labels(bundle=bundle, memory_mb=memory_mb, output_mb=options.output_mb),
            },
            memory_bytes=memory_mb * 2**20,
            cpus=options.cpus,
            user=user,
            network=network,
            network_name=options.network_name if network is options.network else "",
            mounts=files.mounts(envelope, request.input_uri),
            hosts=self._hosts(envelope, network),
        )

    def _network(self, wanted: NetworkReach | None) -> Network:
        """Return the network of a container: what is wanted, and at most what the site gives.

        Without a network the platform is reached all the same: files are mounted, and the end of the
        container is its answer.
        """
        usual = self.options.network
        if wanted is NetworkReach.NONE:
            return Network.NONE
        if wanted is NetworkReach.PLATFORM and usual is Network.OPEN:
            return Network.CALLBACK
        return usual

    def _environ(self, network: Network) -> dict[str, str]:
        """Return the further variables, without those that are of no use on this network."""
        return {
            name: value
            for name, value in self.options.environ.items()
            if network in _REACHED_FROM.get(name, Network)
        }

    def _hosts(self, envelope: ValidationInputEnvelope, network: Network) -> dict[str, str]:
        """Return the address for the worker's host name, if that must be this machine."""
        host = urlsplit(str(envelope.context.callback_url or "")).hostname or ""
        inside = network is Network.CALLBACK and not (
            self.options.network_name and network is self.options.network
        )
        if host == HOST or (inside and host and not _is_address(host)):
            return {host: self._engine.callback_network().gateway}
        return {}


def _name(attempt: str) -> str:
    return f"attempt-{attempt}"


def _default_user() -> str:
    """Return the user for an image that is made for root: ours, unless we are root."""
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
    return final_state(container.name, ended, container.labels())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except EngineUnavailable as error:
        raise StateUnavailable(str(error)) from error
