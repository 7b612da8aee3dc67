"""What is asked of a container, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

NOBODY = "1000:1000"  # whom images are run as that say nothing, or root
GIB = 2**30


class Network(StrEnum):
    """What a container can reach: nothing; one address of the host; everything that the host can."""

    NONE = "none"
    CALLBACK = "callback"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """`source` is an absolute path of the engine's machine, or the name of a volume."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """`name` is unique among its owner's containers.

    `command` replaces the image's ENTRYPOINT and `args` its CMD, as Cloud Run has it. What is written
    to /tmp counts towards `memory_bytes`. `network_name` is an existing network to be put on in place
    of the package's own; `hosts` are further names and their addresses.
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
    user: str = NOBODY
    network: Network = Network.NONE
    network_name: str = ""
    mounts: tuple[Mount, ...] = ()
    scratch_bytes: int = 2 * GIB
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended: by an exit code or by a signal.

    `out_of_memory`: its own process was killed for it; `child_out_of_memory`: only another of its
    processes was. `terminated`: it was asked to end before it did. `lost`: it is gone, or went with
    the engine, and nobody saw how.
    """

    code: int = 0
    signal: int = 0
    out_of_memory: bool = False
    child_out_of_memory: bool = False
    terminated: bool = False
    lost: bool = False
