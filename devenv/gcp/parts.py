"""The parts that the services of the emulated cloud share."""

from dataclasses import dataclass
from pathlib import Path

from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig, CloudPlace
from devenv.gcp.faults import Faults
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies
from devenv.gcp.identity.identity import Identity
from devenv.gcp.intercept.authority import Authority
from devenv.gcp.intercept.ports import Ports
from devenv.gcp.intercept.router import Hosts
from devenv.gcp.journal import Journal
from devenv.gcp.store import Store


@dataclass(frozen=True, kw_only=True)
class CloudParts:
    """The parts that the services share. Jobs run in the folder `project`, if they are processes."""

    config: CloudConfig
    data: Path
    project: Path
    place: CloudPlace
    clock: Clock
    store: Store
    identity: Identity
    journal: Journal
    faults: Faults
    policies: Policies
    guard: Iam
    authority: Authority
    ports: Ports
    hosts: Hosts
