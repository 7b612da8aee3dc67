"""Names of secrets and versions, global and regional, and the hosts that know them.

A secret has a key here: its id, or `LOCATION:ID` for a regional one. A host of Google's knows the
secrets of its own location only, and refuses the names of others as malformed; on the plain port the
name alone decides. See https://docs.cloud.google.com/secret-manager/regional-secrets/data-residency.
"""

import re

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, wrong_project

SERVICE = "secretmanager.googleapis.com"

_PARENT = re.compile(r"projects/([^/]+)(?:/locations/([^/]+))?")
_REGIONAL_HOST = re.compile(r"secretmanager\.([a-z0-9-]+)\.rep\.googleapis\.com")
_SHAPES = ("projects/*", "projects/*/locations/*")


class SecretNames:
    """The names of one project; answers hold its number, as Google's do."""

    def __init__(self, config: CloudConfig) -> None:
        self._config = config

    def location(self, text: str, host: str = "") -> str:
        """Return the location of a parent, empty for the global one. Raises CloudError."""
        location, *_ = self._parsed(text, host, "")
        return location

    def secret(self, text: str, host: str = "") -> str:
        """Return the key of the secret of this full name, if the host may know it."""
        location, secret_id = self._parsed(text, host, "/secrets/*")
        return key_of(location, secret_id)

    def version(self, text: str, host: str = "") -> tuple[str, str]:
        """Return the key of the secret, and the number or alias of the version, of this full name."""
        location, secret_id, version = self._parsed(text, host, "/secrets/*/versions/*")
        return key_of(location, secret_id), version

    def full(self, key: str, version: str = "") -> str:
        """Return the full name of a secret or version, with the project's number."""
        return _name(self._config.number, key, version)

    def resource(self, key: str, version: str = "") -> str:
        """Return the full name of a secret or version, with the project's id."""
        return _name(self._config.project, key, version)

    def _parsed(self, text: str, host: str, below: str) -> list[str]:
        """Return the location of a name and its parts below that. Raises CloudError."""
        pattern = _PARENT.pattern + below.replace("*", "([^/]+)")
        match = re.fullmatch(pattern, text)
        here = _location_at(host)
        location = (match[2] or "") if match else ""
        if not match or here not in (None, location):
            shape = _SHAPES[bool(here)] + below
            raise InvalidArgument(
                f"The provided Secret ID [{text[:300]}] does not match the expected format [{shape}]"
            )
        if location and location != self._config.region:
            raise InvalidArgument(
                f"Location [{location[:100]}] is not emulated; use {self._config.region}."
            )
        if match[1] not in (self._config.project, self._config.number):
            raise wrong_project(match[1][:100], SERVICE)
        return [location, *match.groups()[2:]]


def key_of(location: str, secret_id: str) -> str:
    """Return the key of a secret; a colon is in no id."""
    return f"{location}:{secret_id}" if location else secret_id


def location_of(key: str) -> str:
    """Return the location of the secret with a key, empty for a global one."""
    location, colon, _ = key.partition(":")
    return location if colon else ""


def _location_at(host: str) -> str | None:
    """Return the location whose secrets a host knows, None if it knows all."""
    name = host.partition(":")[0].lower()
    if match := _REGIONAL_HOST.fullmatch(name):
        return match[1]
    return "" if name.endswith(".googleapis.com") else None


def _name(project: str, key: str, version: str) -> str:
    location, _, secret_id = key.rpartition(":")
    place = f"locations/{location}/" if location else ""
    name = f"projects/{project}/{place}secrets/{secret_id}"
    return f"{name}/versions/{version}" if version else name
