"""The container of a job or a service: its settings, its limits, and the secrets that it reads.

Secrets become variables, or files of a volume. They are read as the account of the job or service
when a container starts: https://cloud.google.com/run/docs/configuring/services/secrets.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

from devenv.gcp.errors import CloudError, InvalidArgument, PermissionDenied, Unimplemented
from devenv.gcp.messages import every
from devenv.gcp.run_jobs.resources import Pb
from devenv.gcp.run_jobs.runtimes.base import AttemptNotStarted, EmulatedAttempt, VolumeFiles

_SECRET_REFERENCE = every("secret", "version")
ENV = every("name", "value", value_source=every(secret_key_ref=_SECRET_REFERENCE))
CONTAINER = every(
    *("name", "image", "command", "args"),
    env=ENV,
    resources=every("limits"),
    volume_mounts=every("name", "mount_path"),
)
VOLUME = every(
    "name",
    secret=every("secret", items=every("path", "version")),
    cloud_sql_instance=every("instances"),
)
# Kept and not honoured: every container reaches what this machine reaches.
VPC = every("egress", network_interfaces=every("network", "subnetwork", "tags"))
DEFAULT_LIMITS = {"cpu": "1000m", "memory": "512Mi"}

_MOST_VARIABLES = 1000
_QUANTITY = re.compile(r"([0-9]{1,15})(Ki|Mi|Gi|k|M|G)?")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_CPU = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?|[0-9]{1,6}m")
_CLOUDSQL = "/cloudsql"
_CONNECTION = re.compile(r"[a-z0-9.:-]+:[a-z0-9-]+:[a-z0-9-]+")
_LEAST_MEMORY = 128 * 2**20
_MOST_MEMORY = 32 * 2**30


ReadSecret: TypeAlias = Callable[[str, str, str], bytes]
"""Returns what a secret's version holds for an account: (email, secret, version)."""
OpenSocket: TypeAlias = Callable[[str, str], str]
"""Returns the folder of the socket by which an account reaches a database: (email, connection name)."""


CheckEgress: TypeAlias = Callable[[str, Pb], None]
"""Raises InvalidArgument for Direct VPC egress into what does not exist: (path of the field, VpcAccess)."""


@dataclass(frozen=True, slots=True)
class ContainerSources:
    """The other services from which a container gets secrets, sockets and networks."""

    read_secret: ReadSecret
    open_socket: OpenSocket
    check_egress: CheckEgress

    def supply(self, attempt: EmulatedAttempt, template: Pb) -> EmulatedAttempt:
        """Return an attempt with the secrets and sockets of its template. Raises AttemptNotStarted."""
        return replace(
            attempt,
            env={**attempt.env, **secret_variables(template, self.read_secret)},
            files=secret_files(template, self.read_secret),
            sockets=self._sockets(template),
        )

    def _sockets(self, template: Pb) -> dict[str, str]:
        try:
            return {
                f"{_CLOUDSQL}/{each}": self.open_socket(template.service_account, each)
                for volume in template.volumes
                for each in volume.cloud_sql_instance.instances
            }
        except (CloudError, OSError) as error:
            raise AttemptNotStarted(f"A socket of Cloud SQL cannot be opened: {error}") from error


def memory_of(container: Pb) -> int:
    """Return the memory limit of a completed container in bytes."""
    return _memory(container.resources.limits["memory"])


def cpus_of(container: Pb) -> float:
    """Return the CPU limit of a completed container."""
    quantity = container.resources.limits["cpu"]
    return int(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def complete_container(where: str, container: Pb, reserved: Collection[str]) -> None:
    """Check a container and fill in its limits; `reserved` are variables that nobody may set.

    Raises InvalidArgument or Unimplemented.
    """
    if not container.image:
        raise bad(f"{where}.image", "must not be empty")
    for resource, limit in DEFAULT_LIMITS.items():
        if not container.resources.limits.get(resource):
            container.resources.limits[resource] = limit
    memory = _memory(container.resources.limits["memory"])
    if not _LEAST_MEMORY <= memory <= _MOST_MEMORY:
        raise bad(f"{where}.resources.limits.memory", "must be between 128Mi and 32Gi")
    if not _CPU.fullmatch(container.resources.limits["cpu"]):
        raise bad(f"{where}.resources.limits.cpu", "must be a quantity such as 1, 0.5 or 1000m")
    if unknown := sorted(set(container.resources.limits) - set(DEFAULT_LIMITS)):
        raise Unimplemented(f"{where}.resources.limits: {unknown[0]} is not emulated.")
    check_variables(where, container.env, reserved)


def check_variables(where: str, env: Pb, reserved: Collection[str]) -> None:
    """Refuse variables that a container cannot have. Raises InvalidArgument."""
    names = [variable.name for variable in env]
    if len(names) > _MOST_VARIABLES:
        raise bad(f"{where}.env", f"must have no more than {_MOST_VARIABLES} variables")
    if taken := sorted(set(reserved) & set(names)):
        raise bad(
            f"{where}.env",
            f"The following reserved env names were provided: {', '.join(taken)}. "
            "These values are automatically set by the system",
        )
    for variable in env:
        if not variable.name or "=" in variable.name or "\0" in variable.name + variable.value:
            raise bad(
                f"{where}.env", f"{variable.name[:100]!r} cannot be a variable's name or value"
            )
        reference = variable.value_source.secret_key_ref
        if variable.HasField("value_source") and not (reference.secret and reference.version):
            raise bad(f"{where}.env", f"{variable.name!r} must name a secret and its version")


def check_volumes(where: str, template: Pb) -> None:
    """Check the volumes of a template and their mounts. Raises InvalidArgument or Unimplemented."""
    names = [volume.name for volume in template.volumes]
    for index, volume in enumerate(template.volumes):
        place = f"{where}.volumes[{index}]"
        if not volume.name or names.count(volume.name) > 1:
            raise bad(f"{place}.name", f"{volume.name[:100]!r} must be there and unique")
        _check_source(place, volume)
    sockets = {v.name for v in template.volumes if v.cloud_sql_instance.instances}
    for container in template.containers:
        mounts = f"{where}.containers[0].volume_mounts"
        _check_mounts(mounts, container.volume_mounts, names)
        if any(m.name in sockets and m.mount_path != _CLOUDSQL for m in container.volume_mounts):
            raise bad(mounts, f"instances of Cloud SQL must be mounted at {_CLOUDSQL}")


def _check_source(where: str, volume: Pb) -> None:
    instances = volume.cloud_sql_instance.instances
    if not (volume.secret.secret or instances):
        raise Unimplemented(f"{where}: only secrets and Cloud SQL instances are emulated.")
    for connection in instances:
        if not _CONNECTION.fullmatch(connection):
            raise bad(
                f"{where}.cloud_sql_instance.instances",
                f"{connection[:100]!r} must be formatted: PROJECT:REGION:INSTANCE",
            )
    for item in volume.secret.items:
        if not _is_inside(PurePosixPath("/") / item.path) or item.path.startswith("/"):
            raise bad(f"{where}.secret.items.path", f"{item.path[:100]!r} must be relative")


def _check_mounts(where: str, mounts: Pb, names: Collection[str]) -> None:
    paths = [mount.mount_path for mount in mounts]
    for mount in mounts:
        if mount.name not in names:
            raise bad(where, f"there is no volume {mount.name[:100]!r}")
        if not _is_inside(PurePosixPath(mount.mount_path)) or paths.count(mount.mount_path) > 1:
            raise bad(where, f"mount_path {mount.mount_path[:100]!r} must be absolute and unique")


def _is_inside(path: PurePosixPath) -> bool:
    """Return whether a path is absolute, not the root, and leads to nowhere above it."""
    return path.is_absolute() and len(path.parts) > 1 and ".." not in path.parts


def secret_variables(template: Pb, read: ReadSecret) -> dict[str, str]:
    """Return the variables that come from secrets. Raises AttemptNotStarted."""
    found = {}
    for variable in template.containers[0].env:
        if variable.HasField("value_source"):
            wanted = variable.value_source.secret_key_ref
            data = _read(template, read, wanted.secret, wanted.version, where=variable.name)
            try:
                found[variable.name] = data.decode()
            except UnicodeDecodeError as error:
                raise AttemptNotStarted(
                    f"Secret {wanted.secret} of {variable.name} is not text: {error}"
                ) from error
    return found


def secret_files(template: Pb, read: ReadSecret) -> VolumeFiles:
    """Return the files of each mounted volume, by mount path. Raises AttemptNotStarted."""
    volumes = {volume.name: volume.secret for volume in template.volumes}
    found = {}
    for mount in template.containers[0].volume_mounts:
        source = volumes[mount.name]
        if not source.secret:
            continue
        # Without items there is one file, the latest version, under the secret's name.
        items = {item.path: item.version for item in source.items}
        items = items or {source.secret.rpartition("/")[2]: "latest"}
        found[mount.mount_path] = {
            path: _read(template, read, source.secret, version or "latest", where=mount.mount_path)
            for path, version in items.items()
        }
    return found


def _read(template: Pb, read: ReadSecret, secret: str, version: str, *, where: str) -> bytes:
    try:
        return read(template.service_account, secret, version)
    except PermissionDenied as error:
        raise AttemptNotStarted(
            f"Permission denied on secret: {secret}/versions/{version} for Revision service account "
            f"{template.service_account}. The service account used must be granted the 'Secret "
            "Manager Secret Accessor' role (roles/secretmanager.secretAccessor) at the secret, "
            "project or higher level."
        ) from error
    except CloudError as error:
        raise AttemptNotStarted(
            f"Secret {secret} of {where} cannot be read by {template.service_account}: {error}"
        ) from error


def _memory(quantity: str) -> int:
    match = _QUANTITY.fullmatch(quantity)
    return int(match[1]) * _UNITS[match[2] or ""] if match else 0


def bad(where: str, what: str) -> InvalidArgument:
    """Return the refusal of a field: `where` is its path, `what` what it must be."""
    return InvalidArgument(f"{where}: {what}.")
