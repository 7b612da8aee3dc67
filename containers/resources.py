"""Networks and volumes of an owner, created when they are needed and found by their labels."""

import io
import ipaddress
import random
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool, Mount as EngineMount

from containers.client import Client
from containers.spec import (
    NAME,
    ContainerRefused,
    ContainerSpec,
    Network,
    NetworkPeer,
    owner_filter,
    owner_labels,
)

_MOUNT_POINT = "/held"
# Containers on one network must not reach each other: they belong to different tenants.
_ISOLATED = {"com.docker.network.bridge.enable_icc": "false"}
# The machine itself gets no address, so that nothing of it can be reached, and no route.
_WITHOUT_HOST = {"com.docker.network.bridge.inhibit_ipv4": "true"}
# The engine's own pools hold about thirty networks. These are for tests of networks (RFC 2544), so
# nobody's machines have them; eight addresses are enough for a container, its peer and the rest.
_POOL = ipaddress.ip_network("198.19.0.0/16")
_PREFIX = 29
_TRIES = 50


@dataclass(frozen=True, slots=True)
class CallbackNetwork:
    """Network without a way out. `gateway`, the host's, is the one address that can be reached."""

    name: str
    gateway: str


class Networks:
    """The owner's networks."""

    def __init__(self, client: Client, owner: str) -> None:
        self._client = client
        self._owner = owner

    def name_for(self, spec: ContainerSpec) -> str:
        """Return the name of the network for `spec`, created if need be."""
        if spec.network is Network.NONE:
            return "none"
        if spec.peer:
            return self._private(spec.name, spec.peer)
        return spec.network_name or str(self._ensure(spec.network)["Name"])

    def callback(self, name: str = "") -> CallbackNetwork:
        """Return the owner's callback network, or the existing network `name`."""
        found = self._existing(name) if name else self._ensure(Network.CALLBACK)
        gateways = [pool["Gateway"] for pool in found["IPAM"]["Config"] if "Gateway" in pool]
        if not gateways:
            raise ContainerRefused(
                f"The network {found['Name']} has no gateway; remove it with "
                f"`docker network rm {found['Name']}`; it is created again."
            )
        return CallbackNetwork(found["Name"], gateways[0].partition("/")[0])

    def private(self) -> set[str]:
        """Return the names of the containers for which there are private networks."""
        with self._client.api() as api:
            found = api.networks(filters=owner_filter(self._owner))
        return {each["Labels"][NAME] for each in found if NAME in each["Labels"]}

    def join(self, container: str, peer: NetworkPeer) -> None:
        """Put `peer` into the private network of a container, unless it is there."""
        name = self._private_name(container)
        with self._client.api() as api:
            try:
                api.connect_container_to_network(peer.container, name, aliases=[peer.alias])
            except APIError as error:
                if "already exists" not in str(error.explanation):
                    raise ContainerRefused(
                        f"{peer.container} could not join the network {name}: {error.explanation}"
                    ) from error

    def remove_private(self, container: str) -> None:
        """Remove the private network of a container. Raises EngineUnavailable."""
        with self._client.api() as api:
            if found := _inspect(api, self._private_name(container)):
                _remove(api, found)

    def remove(self) -> None:
        """Remove the owner's networks that no container uses."""
        with self._client.api() as api:
            for network in api.networks(filters=owner_filter(self._owner)):
                if NAME in network["Labels"]:
                    self.remove_private(network["Labels"][NAME])
                else:
                    _remove(api, network)

    def _existing(self, name: str) -> Mapping[str, Any]:
        with self._client.api() as api:
            if found := _inspect(api, name):
                return found
        raise ContainerRefused(
            f"The engine has no network {name}. `docker network ls` lists its networks."
        )

    def _ensure(self, kind: Network) -> Mapping[str, Any]:
        name = f"validibot-{kind}.{self._owner}"
        with self._client.api() as api:
            return _inspect(api, name) or self._create(api, name, kind)

    def _private_name(self, container: str) -> str:
        return f"validibot-{container}.{self._owner}"

    def _private(self, container: str, peer: NetworkPeer) -> str:
        """Create the private network of a container and put its peer into it; return its name."""
        name = self._private_name(container)
        with self._client.api() as api:
            if not _inspect(api, name):
                self._create_private(api, name, container)
        self.join(container, peer)
        return name

    def _create_private(self, api: docker.APIClient, name: str, container: str) -> None:
        for left in reversed(range(_TRIES)):
            try:
                api.create_network(
                    name,
                    driver="bridge",
                    internal=True,
                    options=_WITHOUT_HOST,
                    ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=_random_subnet())]),
                    labels={**owner_labels(self._owner), NAME: container},
                )
            except APIError as error:
                if "overlap" in str(error.explanation).lower() and left:
                    continue
                raise ContainerRefused(
                    f"The network {name} could not be created: {error.explanation}. "
                    "`docker network ls` lists the engine's networks."
                ) from error
            return

    def _create(self, api: docker.APIClient, name: str, kind: Network) -> Mapping[str, Any]:
        try:
            api.create_network(
                name,
                driver="bridge",
                internal=kind is Network.CALLBACK,
                options=_ISOLATED,
                labels=owner_labels(self._owner),
                check_duplicate=True,
            )
        except APIError as error:
            if found := _inspect(api, name):  # another process created it
                return found
            raise ContainerRefused(
                f"The network {name} could not be created: {error.explanation}. "
                "`docker network ls` lists the engine's networks."
            ) from error
        return _inspect(api, name) or {}


def _inspect(api: docker.APIClient, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = api.inspect_network(name)
    except NotFound:
        return None
    return found


def _remove(api: docker.APIClient, network: Mapping[str, Any]) -> None:
    """Remove a network, and before that what `network` names as being in it."""
    for container in network.get("Containers") or ():
        with suppress(APIError):
            api.disconnect_container_from_network(container, network["Id"], force=True)
    with suppress(APIError):  # in use, or removed meanwhile
        api.remove_network(network["Id"])


def _random_subnet() -> str:
    size = 2 ** (_POOL.max_prefixlen - _PREFIX)
    first = random.randrange(_POOL.num_addresses // size) * size  # noqa: S311 - no secret
    return f"{_POOL[first]}/{_PREFIX}"


class Volumes:
    """The owner's volumes."""

    def __init__(self, client: Client, owner: str) -> None:
        self._client = client
        self._owner = owner

    def hold(self, name: str, files: Mapping[str, bytes], *, image: str) -> str:
        """Fill a volume with `files` and return its name; `image` is any image of the engine.

        The engine accepts files only for a container, so one is created and never started.
        """
        volume = f"validibot-{name}.{self._owner}"
        with self._client.api() as api:
            try:
                api.create_volume(volume, labels=owner_labels(self._owner))
                self._fill(api, volume, files, image)
            except APIError as error:
                raise ContainerRefused(
                    f"The volume {volume} could not be filled: {error.explanation or error}"
                ) from error
        return volume

    def remove(self) -> None:
        """Remove the owner's volumes that no container uses."""
        with self._client.api() as api:
            for volume in api.volumes(filters=owner_filter(self._owner))["Volumes"] or ():
                try:
                    api.remove_volume(volume["Name"])
                except APIError:  # in use, or removed meanwhile
                    continue

    def _fill(
        self, api: docker.APIClient, volume: str, files: Mapping[str, bytes], image: str
    ) -> None:
        mount = EngineMount(_MOUNT_POINT, volume, type="volume", no_copy=True)
        carrier = api.create_container(
            image,
            entrypoint=["/nothing"],
            labels=owner_labels(self._owner),
            host_config=api.create_host_config(mounts=[mount], network_mode="none"),
        )["Id"]
        try:
            # Files that are there already stay: a container may be reading them.
            missing = {
                name: data for name, data in files.items() if _read(api, carrier, name) != data
            }
            if missing:
                api.put_archive(carrier, _MOUNT_POINT, _pack(missing))
        finally:
            api.remove_container(carrier, force=True)


def _read(api: docker.APIClient, container: str, name: str) -> bytes:
    try:
        chunks, _ = api.get_archive(container, str(PurePosixPath(_MOUNT_POINT, name)))
    except APIError:
        return b""
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        file = archive.extractfile(archive.getmembers()[0])
        return file.read() if file else b""


def _pack(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o444
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
