"""The machine's side of the emulator: its addresses, and how it runs jobs."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

JobRuntime: TypeAlias = Literal["process", "docker"]

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudPlace:
    """`bind` is the address of every listener; without `plain_port` the last one is used again.

    `container_host` is the name by which other containers find this one; `network` is an existing
    network for the containers of jobs, in place of one of their own. `container` is the id of the
    emulator's own container: each job's container then gets a network that it shares with the
    emulator alone. `label` tells clouds apart whose data have the same path in their containers.
    """

    jobs: JobRuntime = "process"
    bind: str = LOOPBACK
    plain_port: int = 0
    container_host: str = ""
    network: str = ""
    container: str = ""
    label: str = ""

    @property
    def is_container(self) -> bool:
        """Return whether clients come from other containers."""
        return self.bind != LOOPBACK

    @property
    def host(self) -> str:
        """Return the host name or address under which clients find this emulator."""
        return (self.container_host or self.bind) if self.is_container else LOOPBACK


HERE = CloudPlace()
