"""The networks that containers are put on: made once for each owner, and told by their labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, NotFound

from containers.client import Client
from containers.errors import CannotStart
from containers.labels import of_owner, ours
from containers.spec import ContainerSpec, Network

# Containers of one network must not reach each other: they are different users'.
_APART = {"com.docker.network.bridge.enable_icc": "false"}


@dataclass(frozen=True, slots=True)
class CallbackNetwork:
    """`gateway` is the one address that containers on it can reach: the host's."""

    name: str
    gateway: str


class Networks:
    """The owner's networks."""

    def __init__(self, client: Client, owner: str) -> None:
        self._client = client
        self._owner = owner

    def name_for(self, spec: ContainerSpec) -> str:
        """Return the network that `spec` is put on; it exists."""
        if spec.network is Network.NONE:
            return "none"
        return spec.network_name or str(self._ensure(spec.network)["Name"])

    def callback(self, name: str = "") -> CallbackNetwork:
        """Return the owner's network without a way out, or the existing one called `name`."""
        found = self._existing(name) if name else self._ensure(Network.CALLBACK)
        gateways = [pool["Gateway"] for pool in found["IPAM"]["Config"] if "Gateway" in pool]
        if not gateways:
            raise CannotStart(
                f"The network {found['Name']} has no gateway; remove it with "
                f"`docker network rm {found['Name']}` and it is made anew."
            )
        return CallbackNetwork(found["Name"], gateways[0].partition("/")[0])

    def remove(self) -> None:
        """Remove the owner's networks that no container is on."""
        with self._client.api() as api:
            for network in api.networks(filters=of_owner(self._owner)):
                try:
                    api.remove_network(network["Id"])
                except APIError:  # in use, or somebody was faster
                    continue

    def _existing(self, name: str) -> Mapping[str, Any]:
        with self._client.api() as api:
            if found := _inspect(api, name):
                return found
        raise CannotStart(
            f"The engine has no network {name}. `docker network ls` shows those there are."
        )

    def _ensure(self, kind: Network) -> Mapping[str, Any]:
        name = f"validibot-{kind}.{self._owner}"
        with self._client.api() as api:
            return _inspect(api, name) or self._create(api, name, kind)

    def _create(self, api: docker.APIClient, name: str, kind: Network) -> Mapping[str, Any]:
        try:
            api.create_network(
                name,
                driver="bridge",
                internal=kind is Network.CALLBACK,
                options=_APART,
                labels=ours(self._owner),
                check_duplicate=True,
            )
        except APIError as error:
            if found := _inspect(api, name):  # another process was faster
                return found
            raise CannotStart(
                f"The network {name} could not be made: {error.explanation}. "
                "`docker network ls` shows those there are."
            ) from error
        return _inspect(api, name) or {}


def _inspect(api: docker.APIClient, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = api.inspect_network(name)
    except NotFound:
        return None
    return found
