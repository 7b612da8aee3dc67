"""Arguments of `create_container` for a spec, with everything that confines a hostile program."""

import signal
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import docker
from docker.types import LogConfig, Mount as EngineMount, Ulimit

from containers.spec import NAME, ContainerMount, ContainerSpec, Network, owner_labels

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
