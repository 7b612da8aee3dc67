"""Container specifications and exits, the errors of the engine, and the labels of what is ours.

Every error message is a sentence that says what to do next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_USER = "1000:1000"  # for images that name no user, or root
GIB = 2**30

# Labels that tell our containers, networks and volumes from everybody else's.
MANAGED = "io.validibot.managed"
OWNER = "io.validibot.owner"
NAME = "io.validibot.name"


class EngineUnavailable(Exception):
    """The container engine does not answer. It may come back."""


class ImageMissing(Exception):
    """The engine does not have the image."""


class ContainerRefused(Exception):
    """The engine answers, but refuses to start this container."""


class Network(StrEnum):
    """Reach of a container: nothing, one address of the host, or everything that the host can reach."""

    NONE = "none"
    CALLBACK = "callback"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMount:
    """File or folder in a container. `source` is an absolute path of the engine's machine, or the name of a volume."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class NetworkPeer:
    """Running container that others are to reach. `container` is its id or name, `alias` its host name for them."""

    container: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Container to start. `name` is unique among its owner's containers.

    `command` replaces the image's ENTRYPOINT and `args` its CMD, as in Cloud Run. Files in /tmp count
    towards `memory_bytes`. `network_name` is an existing network to use instead of the package's own;
    with `peer` the container gets a network of its own, without a way out, that only the peer shares.
    `hosts` are further host names and their addresses.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int
    cpus: float = 1.0
    pids: int = 512
    user: str = DEFAULT_USER
    network: Network = Network.NONE
    network_name: str = ""
    peer: NetworkPeer | None = None
    mounts: tuple[ContainerMount, ...] = ()
    scratch_bytes: int = 2 * GIB
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerExit:
    """End of a container, by an exit code or by a signal.

    `out_of_memory`: its main process was killed for lack of memory; `child_out_of_memory`: only another
    process was. `terminated`: it was asked to end first. `lost`: it was removed or ended with the
    engine, and its exit was not observed.
    """

    code: int = 0
    signal: int = 0
    out_of_memory: bool = False
    child_out_of_memory: bool = False
    terminated: bool = False
    lost: bool = False


def owner_labels(owner: str) -> dict[str, str]:
    """Return the labels of everything that belongs to `owner`."""
    return {MANAGED: "true", OWNER: owner}


def owner_filter(owner: str) -> dict[str, list[str]]:
    """Return the engine's filter for everything that belongs to `owner`."""
    return {"label": [f"{name}={value}" for name, value in owner_labels(owner).items()]}
