"""Start containers that can do nothing but compute: hardened, limited, observed and removed.

Used by the product's `docker` backend and by the emulated Cloud Run Jobs; it knows neither. A caller
describes a container with a `ContainerSpec`; all restrictions are added here and cannot be left out.
"""

from containers.container import Container
from containers.engine import ContainerEngine
from containers.resources import CallbackNetwork
from containers.spec import (
    DEFAULT_USER,
    ContainerExit,
    ContainerMount,
    ContainerRefused,
    ContainerSpec,
    EngineUnavailable,
    ImageMissing,
    Network,
    NetworkPeer,
)

__all__ = (
    "DEFAULT_USER",
    "CallbackNetwork",
    "Container",
    "ContainerEngine",
    "ContainerExit",
    "ContainerMount",
    "ContainerRefused",
    "ContainerSpec",
    "EngineUnavailable",
    "ImageMissing",
    "Network",
    "NetworkPeer",
)
