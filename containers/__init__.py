"""Start containers that may do nothing but compute: hardened, limited, watched, and swept up after.

Nothing here knows who asks: the product's `docker` backend and the emulated Cloud Run Jobs both do.
"""

from containers.container import Container
from containers.engine import Engine
from containers.errors import CannotStart, EngineUnavailable, ImageMissing
from containers.networks import CallbackNetwork
from containers.spec import NOBODY, ContainerSpec, Exit, Mount, Network

__all__ = (
    "NOBODY",
    "CallbackNetwork",
    "CannotStart",
    "Container",
    "ContainerSpec",
    "Engine",
    "EngineUnavailable",
    "Exit",
    "ImageMissing",
    "Mount",
    "Network",
)
