"""An emulated service, as the server uses it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.rpc import HttpMount, Rpc, StreamRpc


class CloudService(ABC):
    """A service of methods whose state is in the store; others have more to start, serve or stop."""

    @abstractmethod
    def rpcs(self) -> Iterable[Rpc | StreamRpc]:
        """Return the methods, of gRPC and REST."""

    def mounts(self) -> tuple[HttpMount, ...]:
        """Return what is served by HTTP beside the methods."""
        return ()

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        """Return the types of resources that have a policy of their own."""
        return ()

    async def start(self) -> None:  # noqa: B027 - many have nothing to do
        """Resume what was in progress."""

    async def stop(self) -> None:  # noqa: B027 - many have nothing to do
        """End the work in the background; everything that was acknowledged is in the store."""
