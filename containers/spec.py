"""Container specifications and exits, what the engine is told about them, and its errors.

`creation` has everything that confines a hostile program. Every error message is a sentence that
says what to do next.
"""

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

import docker
from docker.types import LogConfig, Mount as EngineMount, Ulimit

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


SCRATCH = "/tmp"  # noqa: S108 - a path inside the container
_NO_RESOLVER = "127.0.0.1"  # the container's own loopback, where no name server listens
_LOG = LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "1"})
_MIN_CPUS = 0.01  # the engine's minimum; 0 would mean no limit
_ULIMITS = (
    Ulimit(name="core", soft=0, hard=0),
    Ulimit(name="nofile", soft=4096, hard=4096),
)


def creation(
    api: docker.APIClient,
    spec: ContainerSpec,
    *,
    image: Mapping[str, Any],
    network: str,
    owner: str,
    most_cpus: float,
) -> dict[str, Any]:
    """Return the arguments of `create_container`."""
    return {
        "image": image["Id"],
        "name": full_name(spec.name, owner),
        "entrypoint": list(spec.command) or None,
        # A container's own ENTRYPOINT takes the image's CMD away; so does the engine.
        "command": list(spec.args) or None,
        "environment": {"HOME": SCRATCH} | dict(spec.env),
        "labels": {**spec.labels, **owner_labels(owner), NAME: spec.name},
        "user": spec.user,
        "stop_signal": signal.SIGTERM.name,
        "healthcheck": {"test": ["NONE"]},
        "use_config_proxy": False,
        "host_config": api.create_host_config(
            **_limits(spec, most_cpus), **_isolation(spec, network), **_files(spec, image)
        ),
    }


def full_name(name: str, owner: str) -> str:
    """Return the name on the engine, which owners share."""
    return f"{name}.{owner}"


def _limits(spec: ContainerSpec, most_cpus: float) -> dict[str, Any]:
    return {
        "mem_limit": spec.memory_bytes,
        "memswap_limit": spec.memory_bytes,  # the sum of memory and swap: no swap
        "nano_cpus": int(max(_MIN_CPUS, min(spec.cpus, most_cpus)) * 1e9),
        "pids_limit": spec.pids,
        "ulimits": list(_ULIMITS),
        "log_config": _LOG,
        "oom_score_adj": 500,  # if the machine runs out of memory, spare the database
    }


def _isolation(spec: ContainerSpec, network: str) -> dict[str, Any]:
    # On an internal network the engine would still resolve names outside.
    inside = spec.network is Network.CALLBACK
    return {
        "init": True,  # reaps zombies, forwards SIGTERM
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ipc_mode": "private",
        "network_mode": network,
        "dns": [_NO_RESOLVER] if inside else None,
        "dns_opt": ["attempts:1", "timeout:1"] if inside else None,
        "extra_hosts": dict(spec.hosts),
    }


def _files(spec: ContainerSpec, image: Mapping[str, Any]) -> dict[str, Any]:
    scratch = f"size={spec.scratch_bytes},mode=1777,nosuid,nodev,exec"  # FMUs are loaded from it
    return {
        "read_only": True,
        "tmpfs": dict.fromkeys((SCRATCH, *_volumes(image, spec.mounts)), scratch),
        "mounts": [_mount(mount) for mount in spec.mounts],
    }


def _volumes(image: Mapping[str, Any], mounts: Iterable[ContainerMount]) -> list[str]:
    """Return the volumes that the image declares; each would be a writable disk without a limit."""
    taken = {PurePosixPath(mount.target) for mount in mounts}
    declared = image["Config"].get("Volumes") or {}
    return [path for path in declared if PurePosixPath(path) not in taken]


def _mount(mount: ContainerMount) -> EngineMount:
    kind = "bind" if mount.source.startswith("/") else "volume"
    return EngineMount(mount.target, mount.source, type=kind, read_only=mount.read_only)
