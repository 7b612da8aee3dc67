"""Files of ours for containers to read, in a volume: no path of the engine's machine is needed."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath

import docker
from docker.errors import APIError
from docker.types import Mount as EngineMount

from containers.client import Client
from containers.errors import CannotStart
from containers.labels import of_owner, ours

_HERE = "/held"


class Volumes:
    """The owner's volumes."""

    def __init__(self, client: Client, owner: str) -> None:
        self._client = client
        self._owner = owner

    def hold(self, name: str, files: Mapping[str, bytes], *, image: str) -> str:
        """Fill a volume with `files` and return its name; `image` is any that the engine has.

        The engine takes files only for a container, so one is made for it and never started.
        """
        volume = f"validibot-{name}.{self._owner}"
        with self._client.api() as api:
            try:
                api.create_volume(volume, labels=ours(self._owner))
                self._fill(api, volume, files, image)
            except APIError as error:
                raise CannotStart(
                    f"The volume {volume} could not be filled: {error.explanation or error}"
                ) from error
        return volume

    def remove(self) -> None:
        """Remove the owner's volumes that no container uses."""
        with self._client.api() as api:
            for volume in api.volumes(filters=of_owner(self._owner))["Volumes"] or ():
                try:
                    api.remove_volume(volume["Name"])
                except APIError:  # in use, or somebody was faster
                    continue

    def _fill(
        self, api: docker.APIClient, volume: str, files: Mapping[str, bytes], image: str
    ) -> None:
        mount = EngineMount(_HERE, volume, type="volume", no_copy=True)
        bearer = api.create_container(
            image,
            entrypoint=["/nothing"],
            labels=ours(self._owner),
            host_config=api.create_host_config(mounts=[mount], network_mode="none"),
        )["Id"]
        try:
            # What is there already stays: a container may be reading it.
            missing = {
                name: data for name, data in files.items() if _read(api, bearer, name) != data
            }
            if missing:
                api.put_archive(bearer, _HERE, _pack(missing))
        finally:
            api.remove_container(bearer, force=True)


def _read(api: docker.APIClient, container: str, name: str) -> bytes:
    try:
        chunks, _ = api.get_archive(container, str(PurePosixPath(_HERE, name)))
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
