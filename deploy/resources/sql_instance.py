"""Cloud SQL: the instance, its database and its user."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import quote, unquote, urlsplit

from google.api_core.exceptions import NotFound
from google.cloud import sqladmin_v1 as sqladmin

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, pairs
from deploy.resources.secret import Secret

_CREATION_SECONDS = 1800.0  # ten minutes, usually
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_DONE = sqladmin.Operation.SqlOperationStatus.DONE
_STATES = sqladmin.DatabaseInstance.SqlInstanceState
_PRIVATE = sqladmin.SqlIpAddressType.PRIVATE
_PASSWORD_OF = "database-user-version"  # annotation of the secret  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class BackupPlan:
    """Daily backups at `start` (UTC), of which `kept` are kept, and `log_days` of every change."""

    start: str = "16:00"
    kept: int = 14
    log_days: int = 7


@dataclass(frozen=True, kw_only=True)
class SqlInstance(Resource):
    """A PostgreSQL that only connectors reach, with IAM: no network is authorised.

    With `network` it has a private address in that VPC network and no public one, and clients connect
    with TLS there: the socket of Cloud Run needs a public address
    (https://cloud.google.com/sql/docs/postgres/connect-run). `disk_gb` is the size at first; the disk
    grows by itself. While it is `protected`, Google refuses to delete it.
    """

    kind: ClassVar[str] = "database"
    holds_data: ClassVar[bool] = True

    cloud: GoogleCloud
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    tier: str = ""
    edition: str = ""
    is_regional: bool = False
    disk_gb: int = 10
    is_protected: bool = True
    network: str = ""
    backups: BackupPlan = BackupPlan()

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the instances that were made for a stage."""
        for found in _instances(cloud):
            if found.settings.user_labels.get("stage") == stage:
                yield cls(cloud=cloud, name=found.name)

    @property
    def connection_name(self) -> str:
        """The name by which connectors find it, and that of its folder below `/cloudsql`."""
        return f"{self.cloud.project}:{self.cloud.region}:{self.name}"

    def is_at(self, url: str) -> bool:
        """Return whether a URL leads to this instance."""
        place = self._place()
        return place is not None and place in url

    def url(self, *, user: str, password: str, database: str) -> str:
        """Return the URL of a database. Raises DeployError while there is no address."""
        place = self._place()
        if place is None:
            raise DeployError(
                f"{self.address} has no private address. Run `gcloud sql instances describe {self.name}`, "
                "then `apply` again."
            )
        query = "?sslmode=require" if self.network else ""
        return f"postgres://{user}:{quote(password, safe='')}{place}{database}{query}"

    def desired(self) -> Settings:
        return {
            "version": "POSTGRES_17",
            "tier": self.tier,
            "edition": self.edition,
            "availability": "REGIONAL" if self.is_regional else "ZONAL",
            "backups": {
                "enabled": True,
                "start": self.backups.start,
                "kept": self.backups.kept,
                "point_in_time_recovery": True,
                "log_days": self.backups.log_days,
            },
            "protected": self.is_protected,
            "connectors": self._connectors,
            "networks": [],
            "network": self.network,
            "public address": not self.network,
            "state": "RUNNABLE",
            "labels": dict(self.labels),
        }

    def read(self) -> Settings | None:
        found = self._found()
        if found is None:
            return None
        settings, backups = found.settings, found.settings.backup_configuration
        return {
            "version": found.database_version.name,
            "tier": settings.tier,
            "edition": settings.edition.name,
            "availability": settings.availability_type.name,
            "backups": {
                "enabled": bool(backups.enabled),
                "start": backups.start_time,
                "kept": backups.backup_retention_settings.retained_backups,
                "point_in_time_recovery": bool(backups.point_in_time_recovery_enabled),
                "log_days": backups.transaction_log_retention_days,
            },
            "protected": bool(settings.deletion_protection_enabled),
            "connectors": settings.connector_enforcement.name,
            "networks": [each.value for each in settings.ip_configuration.authorized_networks],
            # Google may answer with a host or a slash before the project.
            "network": settings.ip_configuration.private_network.rpartition("/")[2],
            "public address": bool(settings.ip_configuration.ipv4_enabled),
            "state": found.state.name,
            "labels": dict(settings.user_labels),
        }

    def create(self) -> None:
        instance = sqladmin.DatabaseInstance(
            name=self.name,
            region=self.cloud.region,
            database_version="POSTGRES_17",
            settings={**self._settings(), "data_disk_size_gb": self.disk_gb},
        )
        request = sqladmin.SqlInstancesInsertRequest(project=self.cloud.project, body=instance)
        _finish(self.cloud, self.cloud.sql_instances.insert(request=request))

    def update(self, current: Settings) -> None:
        # An operation that an interrupted `apply` began may be all that is missing.
        _finish_running(self.cloud, self.name)
        now = self.read()
        if now is None or now["state"] != "RUNNABLE":
            state = "gone" if now is None else now["state"]
            raise DeployError(
                f"{self.address} is {state}: see `gcloud sql operations list --instance={self.name}`. "
                "If it holds nothing, delete it there, then run `apply` again."
            )
        if now["version"] != "POSTGRES_17":
            raise DeployError(
                f"{self.address} is {now['version']}, and `apply` upgrades no database: run `gcloud sql "
                f"instances patch {self.name} --database-version=POSTGRES_17`, then `apply` again."
            )
        if now != self.desired():
            body = sqladmin.DatabaseInstance(settings=self._settings())
            request = sqladmin.SqlInstancesPatchRequest(
                project=self.cloud.project, instance=self.name, body=body
            )
            _finish(self.cloud, self.cloud.sql_instances.patch(request=request))

    def delete(self) -> None:
        _finish_running(self.cloud, self.name)
        request = sqladmin.SqlInstancesDeleteRequest(project=self.cloud.project, instance=self.name)
        try:
            _finish(self.cloud, self.cloud.sql_instances.delete(request=request))
        except NotFound:
            return  # what was running was its deletion

    def gcloud(self, action: str, current: Settings) -> list[str]:
        if action == "delete":
            return [command("sql", "instances", "delete", self.name)]
        made: dict[str, Any] = {}
        if action == "create":
            made = {
                "database_version": "POSTGRES_17",
                "region": self.cloud.region,
                "storage_size": f"{self.disk_gb}GB",
            }
        return [
            command(
                *("sql", "instances", "patch" if action == "update" else "create", self.name),
                **made,
                tier=self.tier,
                edition=self.edition.lower().replace("_", "-"),
                availability_type="regional" if self.is_regional else "zonal",
                backup_start_time=self.backups.start,
                retained_backups_count=self.backups.kept,
                retained_transaction_log_days=self.backups.log_days,
                enable_point_in_time_recovery=True,
                connector_enforcement=self._connectors,
                network=self._full_network,
                deletion_protection=self.is_protected,
                **({"update_labels" if action == "update" else "labels": pairs(self.labels)}),
            )
            + ("" if self.is_protected else " --no-deletion-protection")
            + (" --no-assign-ip --ssl-mode=ENCRYPTED_ONLY" if self.network else "")
        ]

    def _place(self) -> str | None:
        """Return the part of a URL that leads to this instance, None while it has no address."""
        if not self.network:
            return f"@//cloudsql/{self.connection_name}/"
        found = self._found()
        private = [a.ip_address for a in found.ip_addresses if a.type_ == _PRIVATE] if found else []
        return f"@{private[0]}:5432/" if private else None

    @property
    def _connectors(self) -> str:
        return "NOT_REQUIRED" if self.network else "REQUIRED"

    @property
    def _full_network(self) -> str:
        return (
            f"projects/{self.cloud.project}/global/networks/{self.network}" if self.network else ""
        )

    def _found(self) -> sqladmin.DatabaseInstance | None:
        # A missing instance and one that the deployer may not see have the same answer to `get`.
        return next((each for each in _instances(self.cloud) if each.name == self.name), None)

    def _settings(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "edition": self.edition,
            "availability_type": "REGIONAL" if self.is_regional else "ZONAL",
            "backup_configuration": {
                "enabled": True,
                "start_time": self.backups.start,
                "point_in_time_recovery_enabled": True,
                "transaction_log_retention_days": self.backups.log_days,
                "backup_retention_settings": {"retained_backups": self.backups.kept},
            },
            "deletion_protection_enabled": self.is_protected,
            "connector_enforcement": self._connectors,
            "ip_configuration": {
                "private_network": self._full_network,
                "ipv4_enabled": not self.network,
                "ssl_mode": "ENCRYPTED_ONLY" if self.network else "ALLOW_UNENCRYPTED_AND_ENCRYPTED",
            },
            "user_labels": dict(self.labels),
        }


@dataclass(frozen=True, kw_only=True)
class SqlDatabase(Resource):
    """A database of an instance; it goes with the instance."""

    kind: ClassVar[str] = "database"

    cloud: GoogleCloud
    instance: str
    database: str

    @property
    def name(self) -> str:  # type: ignore[override]  # computed here, a field elsewhere
        return f"{self.instance}/{self.database}"

    def desired(self) -> Settings:
        return {"charset": "UTF8"}

    def read(self) -> Settings | None:
        request = sqladmin.SqlDatabasesListRequest(
            project=self.cloud.project, instance=self.instance
        )
        if all(each.name != self.instance for each in _instances(self.cloud)):
            return None
        items = self.cloud.sql_databases.list(request=request).items
        found = next((each for each in items if each.name == self.database), None)
        return {"charset": found.charset} if found else None

    def create(self) -> None:
        _finish_running(self.cloud, self.instance)
        body = sqladmin.Database(name=self.database, charset="UTF8")
        request = sqladmin.SqlDatabasesInsertRequest(
            project=self.cloud.project, instance=self.instance, body=body
        )
        _finish(self.cloud, self.cloud.sql_databases.insert(request=request))

    def update(self, current: Settings) -> None:
        raise DeployError(f"{self.address} has the charset {current['charset']}; it must be UTF8.")

    def delete(self) -> None:
        """Leave the database, which goes with its instance."""

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("sql", "databases", "create", self.database)
        return [command(*words, instance=self.instance)] if action == "create" else []


@dataclass(frozen=True, kw_only=True)
class SqlUser(Resource):
    """The user of an instance with the password of a secret, which holds the URL of the database.

    An annotation of the secret tells which of its versions the password is from.
    """

    kind: ClassVar[str] = "database-user"

    cloud: GoogleCloud
    instance: str
    user: str
    secret: Secret

    @property
    def name(self) -> str:  # type: ignore[override]  # computed here, a field elsewhere
        return f"{self.instance}/{self.user}"

    def desired(self) -> Settings:
        version = self.secret.latest()
        return {"password": f"version {version} of the secret" if version else "of the secret"}

    def read(self) -> Settings | None:
        if all(each.name != self.instance for each in _instances(self.cloud)):
            return None
        request = sqladmin.SqlUsersListRequest(project=self.cloud.project, instance=self.instance)
        if all(each.name != self.user for each in self.cloud.sql_users.list(request=request).items):
            return None
        version = self.secret.annotation(_PASSWORD_OF)
        return {"password": f"version {version} of the secret" if version else "unknown"}

    def create(self) -> None:
        self._put(self.cloud.sql_users.insert, sqladmin.SqlUsersInsertRequest)

    def update(self, current: Settings) -> None:
        self._put(self.cloud.sql_users.update, sqladmin.SqlUsersUpdateRequest, name=self.user)

    def delete(self) -> None:
        """Leave the user, who goes with the instance."""

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = {"create": ("create",), "update": ("set-password",)}.get(action)
        if words is None:
            return []
        return [
            command(
                "sql", "users", *words, self.user, "--prompt-for-password", instance=self.instance
            )
        ]

    def _put(self, call: Callable[..., Any], kind: Any, **more: str) -> None:
        _finish_running(self.cloud, self.instance)
        version = self.secret.latest()
        password = unquote(urlsplit(self.secret.value()).password or "")
        body = sqladmin.User(name=self.user, password=password)
        request = kind(project=self.cloud.project, instance=self.instance, body=body, **more)
        _finish(self.cloud, call(request=request))
        self.secret.annotate(_PASSWORD_OF, version)


def _instances(cloud: GoogleCloud) -> list[sqladmin.DatabaseInstance]:
    request = sqladmin.SqlInstancesListRequest(project=cloud.project)
    found: list[sqladmin.DatabaseInstance] = []
    while True:
        answer = cloud.sql_instances.list(request=request)
        found += answer.items
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def _finish_running(cloud: GoogleCloud, instance: str) -> None:
    """Wait for operations on an instance that are in progress; their errors are not ours."""
    request = sqladmin.SqlOperationsListRequest(project=cloud.project, instance=instance)
    for operation in cloud.sql_operations.list(request=request).items:
        _wait(cloud, operation)


def _finish(cloud: GoogleCloud, operation: sqladmin.Operation) -> None:
    """Wait for an operation. Raises DeployError if it fails."""
    ended = _wait(cloud, operation)
    if ended.error.errors:
        texts = "; ".join(each.message.rstrip(".") for each in ended.error.errors)
        raise DeployError(
            f"database/{ended.target_id}: {texts}. See `gcloud sql operations describe "
            f"{ended.name}`, mend it, then run `apply` again."
        )


def _wait(cloud: GoogleCloud, operation: sqladmin.Operation) -> sqladmin.Operation:
    """Return an operation when it is done. Raises DeployError after half an hour."""
    request = sqladmin.SqlOperationsGetRequest(project=cloud.project, operation=operation.name)
    pause, end = _FIRST_PAUSE, time.monotonic() + _CREATION_SECONDS
    while operation.status != _DONE:
        if time.monotonic() > end:
            raise DeployError(
                f"database/{operation.target_id}: the operation {operation.name} is in progress for half "
                "an hour. Run `apply` again, which waits for it."
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        operation = cloud.sql_operations.get(request=request)
    return operation
