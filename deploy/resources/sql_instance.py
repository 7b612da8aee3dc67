"""Cloud SQL: the instance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from urllib.parse import quote

from google.api_core.exceptions import NotFound
from google.cloud import sqladmin_v1 as sqladmin

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, pairs
from deploy.resources.sql_operations import finish_running, finish_sql, instances_of

_PRIVATE = sqladmin.SqlIpAddressType.PRIVATE


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
    (https://cloud.google.com/sql/docs/postgres/connect-run). A private address cannot be taken away
    again, so that of an instance without `network` is not compared. `disk_gb` is the least size: the
    disk grows by itself and never shrinks. While it is `protected`, Google refuses to delete it.
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
        for found in instances_of(cloud):
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
            "region": self.cloud.region,
            "tier": self.tier,
            "edition": self.edition,
            "availability": "REGIONAL" if self.is_regional else "ZONAL",
            "disk_gb": self.disk_gb,
            "disk grows": True,
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
            "tls": self._tls,
            "state": "RUNNABLE",
            "labels": dict(self.labels),
        }

    def read(self) -> Settings | None:
        found = self._found()
        if found is None:
            return None
        settings, backups = found.settings, found.settings.backup_configuration
        addresses = settings.ip_configuration
        return {
            "version": found.database_version.name,
            "region": found.region,
            "tier": settings.tier,
            "edition": settings.edition.name,
            "availability": settings.availability_type.name,
            "disk_gb": min(settings.data_disk_size_gb or 0, self.disk_gb),
            "disk grows": bool(settings.storage_auto_resize),
            "backups": {
                "enabled": bool(backups.enabled),
                "start": backups.start_time,
                "kept": backups.backup_retention_settings.retained_backups,
                "point_in_time_recovery": bool(backups.point_in_time_recovery_enabled),
                "log_days": backups.transaction_log_retention_days,
            },
            "protected": bool(settings.deletion_protection_enabled),
            "connectors": settings.connector_enforcement.name,
            "networks": [each.value for each in addresses.authorized_networks],
            # Google may answer with a host or a slash before the project.
            "network": addresses.private_network.rpartition("/")[2] if self.network else "",
            "public address": bool(addresses.ipv4_enabled),
            "tls": addresses.ssl_mode.name,
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
        finish_sql(self.cloud, self.cloud.sql_instances.insert(request=request))

    def update(self, current: Settings) -> None:
        # An operation that an interrupted `apply` began may be all that is missing.
        finish_running(self.cloud, self.name)
        now = self.read()
        if now is None or now["state"] != "RUNNABLE":
            state = "gone" if now is None else now["state"]
            raise DeployError(
                f"{self.address} is {state}: see `gcloud sql operations list --instance={self.name}`. "
                "If it holds nothing, delete it there, then run `apply` again."
            )
        self._check_unchangeable(now)
        if now != self.desired():
            self._patch(now)

    def _patch(self, now: Settings) -> None:
        request: Any
        if now["networks"] or not {*now["labels"]} <= {*self.labels}:
            # A patch takes nothing out of a list or mapping; an update replaces all settings.
            whole = self._found() or sqladmin.DatabaseInstance()
            whole.settings.ip_configuration.authorized_networks = []
            whole.settings.user_labels = dict(self.labels)
            request = sqladmin.SqlInstancesUpdateRequest(
                project=self.cloud.project, instance=self.name, body=whole
            )
            finish_sql(self.cloud, self.cloud.sql_instances.update(request=request))
        settings = self._settings()
        if now["disk_gb"] != self.disk_gb:
            settings["data_disk_size_gb"] = self.disk_gb
        request = sqladmin.SqlInstancesPatchRequest(
            project=self.cloud.project,
            instance=self.name,
            body=sqladmin.DatabaseInstance(settings=settings),
        )
        finish_sql(self.cloud, self.cloud.sql_instances.patch(request=request))

    def delete(self) -> None:
        finish_running(self.cloud, self.name)
        request = sqladmin.SqlInstancesDeleteRequest(project=self.cloud.project, instance=self.name)
        try:
            finish_sql(self.cloud, self.cloud.sql_instances.delete(request=request))
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
        elif current.get("disk_gb", self.disk_gb) != self.disk_gb:
            made = {"storage_size": f"{self.disk_gb}GB"}
        return [
            command(
                # Labels have flags in the beta commands only.
                *("beta", "sql", "instances"),
                *("patch" if action == "update" else "create", self.name),
                **made,
                tier=self.tier,
                edition=self.edition.lower().replace("_", "-"),
                availability_type="regional" if self.is_regional else "zonal",
                backup_start_time=self.backups.start,
                retained_backups_count=self.backups.kept,
                retained_transaction_log_days=self.backups.log_days,
                enable_point_in_time_recovery=True,
                storage_auto_increase=True,
                connector_enforcement=self._connectors,
                network=self._full_network,
                deletion_protection=self.is_protected,
                **({"update_labels" if action == "update" else "labels": pairs(self.labels)}),
            )
            + ("" if self.is_protected else " --no-deletion-protection")
            + (" --no-assign-ip" if self.network else " --assign-ip")
            + f" --ssl-mode={self._tls}"
            + (" --clear-authorized-networks" if current.get("networks") else "")
        ]

    def note(self, current: Settings) -> str:
        if self.network or current["public address"]:
            return ""
        return (
            "Google leaves the instance its private address: it stays, and no plan shows it again."
        )

    def _check_unchangeable(self, now: Settings) -> None:
        """Raise DeployError for a difference that no call of `apply` can remove."""
        if now["version"] != "POSTGRES_17":
            raise DeployError(
                f"{self.address} is {now['version']}, and `apply` upgrades no database: run `gcloud sql "
                f"instances patch {self.name} --database-version=POSTGRES_17`, then `apply` again."
            )
        if now["region"] != self.cloud.region:
            raise DeployError(
                f"{self.address} is in {now['region']}, and an instance cannot move to "
                f"{self.cloud.region}: set `region` back, or choose another `instance` in `[database]`, "
                "then run `plan`."
            )

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
    def _tls(self) -> str:
        # Connectors encrypt by themselves.
        return "ENCRYPTED_ONLY" if self.network else "ALLOW_UNENCRYPTED_AND_ENCRYPTED"

    @property
    def _full_network(self) -> str:
        return (
            f"projects/{self.cloud.project}/global/networks/{self.network}" if self.network else ""
        )

    def _found(self) -> sqladmin.DatabaseInstance | None:
        # A missing instance and one that the deployer may not see have the same answer to `get`.
        return next((each for each in instances_of(self.cloud) if each.name == self.name), None)

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
                "ssl_mode": self._tls,
            },
            "storage_auto_resize": True,
            "user_labels": dict(self.labels),
        }
