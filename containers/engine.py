"""Container engine as one owner sees it: start, find and remove the owner's containers."""

from collections.abc import Callable, Mapping, Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import docker
from docker.errors import APIError, NotFound

from containers.client import Client
from containers.container import ENDED, Container
from containers.resources import CallbackNetwork, Networks, Volumes
from containers.spec import (
    NAME,
    OWNER,
    ContainerRefused,
    ContainerSpec,
    ImageMissing,
    NetworkPeer,
    creation,
    full_name,
    owner_filter,
)

_CONFLICT = 409
_BAD_NAME = 400


@dataclass(frozen=True, slots=True)
class _Machine:
    """Machine of the engine. `platform` is in the form of image metadata: `linux/amd64`."""

    platform: str
    cpus: float


class ContainerEngine:
    """Container engine as one owner sees it; any number of threads may use it.

    `owner` consists of the characters of container names. The connection is made by the first call;
    every method raises EngineUnavailable if the engine does not answer.
    """

    def __init__(self, *, owner: str, client: Client | None = None) -> None:
        self.owner = owner
        self._client = client or Client()
        self._networks = Networks(self._client, owner)
        self._volumes = Volumes(self._client, owner)

    def ping(self) -> None:
        """Check that the engine answers."""
        with self._client.api() as api:
            api.ping()

    def has(self, image: str) -> bool:
        """Return whether the engine has an image."""
        try:
            self._image(image)
        except ImageMissing:
            return False
        return True

    def digest(self, image: str) -> str:
        """Return the digest that pins `image`: the registry's, else that of the image itself.

        The engine finds `NAME@DIGEST` again. A registry's digest is known only under the name that
        the image has in that registry, the image's own under any name. Raises ImageMissing.
        """
        found = self._image(image)
        name = image.partition("@")[0]
        digests = (known.partition("@")[2] for known in found.get("RepoDigests") or ())
        return next(filter(lambda digest: self.has(f"{name}@{digest}"), digests), str(found["Id"]))

    def user(self, image: str) -> str:
        """Return the user of `image` as uid:gid; empty for root and for users given by name.

        The number of a name is known only inside the image. Raises ImageMissing.
        """
        uid, _, gid = str(self._image(image)["Config"].get("User") or "").partition(":")
        is_plain = uid.isdecimal() and int(uid) and (gid or uid).isdecimal()
        return f"{int(uid)}:{int(gid or uid)}" if is_plain else ""

    def start(self, spec: ContainerSpec) -> Container:
        """Create and start a container. Raises ImageMissing and ContainerRefused."""
        image = self._image(spec.image)
        self._check_platform(spec.image, image)
        with self._client.api() as api:
            try:
                arguments = creation(
                    api,
                    spec,
                    image=image,
                    network=self._networks.name_for(spec),
                    owner=self.owner,
                    most_cpus=self._machine.cpus,
                )
                return self._start(api, spec, arguments)
            except BaseException as error:
                if spec.peer:
                    self._networks.remove_private(spec.name)
                if not isinstance(error, APIError):
                    raise
                raise ContainerRefused(
                    f"{spec.name} could not be started: {error.explanation or error}"
                ) from error

    def find(self, name: str, *, peer: NetworkPeer | None = None) -> Container | None:
        """Return the container that was started under `name`, running or ended.

        `peer` joins its network, if the container that was its peer has been replaced meanwhile.
        """
        try:
            with self._client.api() as api:
                found = api.inspect_container(full_name(name, self.owner))
        except NotFound:
            return None
        status = found["State"]["Status"]
        if status == "created":  # another thread may be about to start it
            return None
        if peer and status not in ENDED:
            self._networks.join(name, peer)
        return self._handle(found["Id"], name, private=peer is not None, seen=status not in ENDED)

    def labels_at(self, address: str) -> Mapping[str, str] | None:
        """Return the labels of the owner's running container that has `address`."""
        with self._client.api() as api:
            for found in api.containers(filters=owner_filter(self.owner)):
                networks = found["NetworkSettings"]["Networks"].values()
                if any(network["IPAddress"] == address for network in networks):
                    labels: Mapping[str, str] = found["Labels"]
                    return labels
        return None

    def address_of(self, name: str) -> str:
        """Return the address of the container that runs under `name`; empty without one."""
        try:
            with self._client.api() as api:
                found = api.inspect_container(full_name(name, self.owner))
        except NotFound:
            return ""
        networks = found["NetworkSettings"]["Networks"].values()
        return next((str(each["IPAddress"]) for each in networks if each["IPAddress"]), "")

    def sweep(self, *, keep: AbstractSet[str] = frozenset()) -> list[str]:
        """Remove all of the owner's containers but those named; return the names of the removed."""
        return self.sweep_if(lambda names: names - keep)

    def sweep_if(self, unwanted: Callable[[AbstractSet[str]], AbstractSet[str]]) -> list[str]:
        """Remove the owner's containers that `unwanted` selects; return their names.

        It is called with the names of a listing, so containers that start meanwhile stay.
        """
        with self._client.api() as api:
            found = api.containers(all=True, filters=owner_filter(self.owner))
        ids = {each["Labels"].get(NAME, ""): each["Id"] for each in found}
        # A crash may have left the network of a container without the container.
        private = self._networks.private()
        known = ids.keys() | private
        removed = sorted(unwanted(known) & known)
        for name in removed:
            if name in ids:
                Container(self._client, id=ids[name], name=name).remove()
            if name in private:
                self._networks.remove_private(name)
        return removed

    def clear(self) -> None:
        """Remove everything of the owner's: containers, networks and volumes."""
        self.sweep()
        self._networks.remove()
        self._volumes.remove()

    def callback_network(self, name: str = "") -> CallbackNetwork:
        """Return the owner's callback network, created if need be, or the existing one `name`."""
        return self._networks.callback(name)

    def hold(self, name: str, files: Mapping[str, bytes], *, image: str) -> str:
        """Put `files` into a volume of the owner and return its name.

        `image` is any image of the engine. Raises ImageMissing and ContainerRefused.
        """
        return self._volumes.hold(name, files, image=self._image(image)["Id"])

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._client.close()

    def _handle(self, id_: str, name: str, *, private: bool, seen: bool = True) -> Container:
        removed = partial(self._networks.remove_private, name) if private else None
        return Container(self._client, id=id_, name=name, seen=seen, removed=removed)

    def _start(
        self, api: docker.APIClient, spec: ContainerSpec, arguments: dict[str, Any]
    ) -> Container:
        id_ = self._create(api, arguments)["Id"]
        container = self._handle(id_, spec.name, private=spec.peer is not None)
        try:
            api.start(id_)
        except BaseException:
            container.remove()
            raise
        return container

    def _create(self, api: docker.APIClient, arguments: dict[str, Any]) -> dict[str, Any]:
        """Create a container, replacing one that was never started because its starter died."""
        try:
            created: dict[str, Any] = api.create_container(**arguments)
        except APIError as error:
            if error.status_code != _CONFLICT or not self._drop_unstarted(api, arguments["name"]):
                raise
            created = api.create_container(**arguments)
        return created

    def _drop_unstarted(self, api: docker.APIClient, name: str) -> bool:
        with suppress(NotFound):
            found = api.inspect_container(name)
            ours = found["Config"]["Labels"].get(OWNER) == self.owner
            if not ours or found["State"]["Status"] != "created":
                return False
            api.remove_container(found["Id"], v=True)
        return True

    def _image(self, name: str) -> Mapping[str, Any]:
        # An image that was built here is known by its own digest only, not by NAME@DIGEST.
        references = (name, name.partition("@")[2]) if "@" in name else (name,)
        with self._client.api() as api:
            for reference in references:
                try:
                    found: Mapping[str, Any] = api.inspect_image(reference)
                except NotFound:
                    continue
                except APIError as error:
                    if error.status_code != _BAD_NAME:
                        raise
                else:
                    return found
        raise ImageMissing(
            f"The engine has no image {name}: build it, or fetch it with `docker pull {name}`."
        )

    def _check_platform(self, name: str, image: Mapping[str, Any]) -> None:
        platform = f"{image['Os']}/{image['Architecture']}"
        if platform != self._machine.platform:
            raise ContainerRefused(
                f"The image {name} is for {platform}, this engine runs {self._machine.platform}: "
                f"build or pull it with `--platform {self._machine.platform}`."
            )

    @cached_property
    def _machine(self) -> _Machine:
        with self._client.api() as api:
            version = api.version()
            return _Machine(f"{version['Os']}/{version['Arch']}", float(api.info()["NCPU"]))
