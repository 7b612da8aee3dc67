"""Secrets in Secret Manager; their values are generated or read from the operator, never printed."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import google_crc32c
from google.api_core.exceptions import FailedPrecondition, NotFound
from google.cloud import secretmanager_v1

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, pairs

_ENABLED = secretmanager_v1.SecretVersion.State.ENABLED
_DISABLED = secretmanager_v1.SecretVersion.State.DISABLED
# A version that is replaced can be restored for so long, then it is destroyed and costs nothing.
_KEPT_DAYS = 7
_HAS_VALUE = "has a value"
_NO_VALUE = "has no value"
_OTHER_VALUE = "of another database"


@dataclass(frozen=True, kw_only=True)
class Secret(Resource):
    """A secret with at least one version, the value of `variable`, which is empty for custom validators.

    `generate` makes the value; without it the operator gives one with `deploy secrets set`. A value
    that `fits` refuses is replaced.
    """

    kind: ClassVar[str] = "secret"
    holds_data: ClassVar[bool] = True

    cloud: GoogleCloud
    stage: str
    name: str
    variable: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    generate: Callable[[], str] | None = None
    fits: Callable[[str], bool] | None = None

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the secrets that were made for a stage."""
        for found in cloud.secrets.list_secrets(parent=f"projects/{cloud.project}"):
            if found.labels.get("stage") == stage:
                yield cls(cloud=cloud, stage=stage, name=found.name.rpartition("/")[2])

    def desired(self) -> Settings:
        return {"value": _HAS_VALUE, "labels": dict(self.labels), "kept_days": _KEPT_DAYS}

    def read(self) -> Settings | None:
        try:
            found = self.cloud.secrets.get_secret(name=self._full)
        except NotFound:
            return None
        value = _HAS_VALUE if self.versions() else _NO_VALUE
        if self.fits and value == _HAS_VALUE and not self.fits(self.value()):
            value = _OTHER_VALUE
        kept = found.version_destroy_ttl
        days = kept.total_seconds() / 86_400 if kept else 0
        return {"value": value, "labels": dict(found.labels), "kept_days": days}

    def create(self) -> None:
        self.create_empty()
        self._give_value()

    def create_empty(self) -> None:
        """Create the secret without a version."""
        self.cloud.secrets.create_secret(
            parent=f"projects/{self.cloud.project}",
            secret_id=self.name,
            secret=secretmanager_v1.Secret(
                replication={"automatic": {}},
                labels=dict(self.labels),
                version_destroy_ttl=dt.timedelta(days=_KEPT_DAYS),
            ),
        )

    def update(self, current: Settings) -> None:
        if not _settings_agree(current, self.desired()):
            secret = secretmanager_v1.Secret(
                name=self._full,
                labels=dict(self.labels),
                version_destroy_ttl=dt.timedelta(days=_KEPT_DAYS),
            )
            paths = ["labels", "version_destroy_ttl"]
            request = {"secret": secret, "update_mask": {"paths": paths}}
            self.cloud.secrets.update_secret(request=request)
        if current["value"] != _HAS_VALUE:
            self._give_value()

    def delete(self) -> None:
        self.cloud.secrets.delete_secret(name=self._full)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        if action == "delete":
            return [command("secrets", "delete", self.name)]
        value = command("secrets", "versions", "add", self.name, data_file="-")
        made = [] if current.get("value") == _HAS_VALUE else [value]
        if action == "create":
            flags = {"labels": pairs(self.labels), "version_destroy_ttl": f"{_KEPT_DAYS}d"}
            made.insert(0, command("secrets", "create", self.name, **flags))
        elif not _settings_agree(current, self.desired()):
            flags = {"update_labels": pairs(self.labels), "version_destroy_ttl": f"{_KEPT_DAYS}d"}
            made.append(command("secrets", "update", self.name, **flags))
        return made

    def versions(self) -> list[str]:
        """Return the full names of the enabled versions, newest first."""
        found = self.cloud.secrets.list_secret_versions(parent=self._full)
        return [version.name for version in found if version.state == _ENABLED]

    def latest(self) -> str:
        """Return the number of the newest enabled version, empty if there is none."""
        try:
            return next((name.rpartition("/")[2] for name in self.versions()), "")
        except NotFound:
            return ""

    def annotation(self, key: str) -> str:
        """Return an annotation, empty if there is none."""
        try:
            return str(self.cloud.secrets.get_secret(name=self._full).annotations.get(key, ""))
        except NotFound:
            return ""

    def annotate(self, key: str, text: str) -> None:
        """Set an annotation; the others stay."""
        kept = dict(self.cloud.secrets.get_secret(name=self._full).annotations)
        secret = secretmanager_v1.Secret(name=self._full, annotations={**kept, key: text})
        request = {"secret": secret, "update_mask": {"paths": ["annotations"]}}
        self.cloud.secrets.update_secret(request=request)

    def value(self) -> str:
        """Return the newest value. Raises DeployError if there is none."""
        try:
            answer = self.cloud.secrets.access_secret_version(name=f"{self._full}/versions/latest")
        except (FailedPrecondition, NotFound) as error:
            raise self._no_value() from error
        return answer.payload.data.decode()

    def add(self, value: str) -> str:
        """Add a version; return its number."""
        data = value.encode()
        checksum = google_crc32c.value(data)
        payload = secretmanager_v1.SecretPayload(data=data, data_crc32c=checksum)
        made = self.cloud.secrets.add_secret_version(parent=self._full, payload=payload)
        return made.name.rpartition("/")[2]

    def retired(self) -> list[str]:
        """Return the full names of the disabled versions that nothing is going to destroy."""
        found = self.cloud.secrets.list_secret_versions(parent=self._full)
        return [
            version.name
            for version in found
            if version.state == _DISABLED and not version.scheduled_destroy_time
        ]

    def retire(self, version: str) -> None:
        """Disable a version, given by its full name; a week later Secret Manager destroys it."""
        self.cloud.secrets.destroy_secret_version(name=version)

    def _give_value(self) -> None:
        if self.generate is None:
            raise self._no_value()
        self.add(self.generate())

    def _no_value(self) -> DeployError:
        return DeployError(
            f"{self.address} has no value. Give it one with `python -m deploy secrets set "
            f"{self.stage} {self.name}`, which reads standard input, then run `apply` again."
        )

    @property
    def _full(self) -> str:
        return f"projects/{self.cloud.project}/secrets/{self.name}"


def _settings_agree(current: Settings, wanted: Settings) -> bool:
    return {**current, "value": ""} == {**wanted, "value": ""}
