"""Resources of a stage that keep something: images, files, secrets and queues."""

import secrets as generator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from deploy.errors import DeployError
from deploy.layout.names import StageNames
from deploy.resources.bucket import Bucket
from deploy.resources.peering import Peering
from deploy.resources.queue import Queue
from deploy.resources.repository import Repository
from deploy.resources.secret import Secret
from deploy.resources.sql_contents import SqlDatabase, SqlUser
from deploy.resources.sql_instance import BackupPlan, SqlInstance
from deploy.stage import GENERATED

_DATABASE = "validibot"  # the database, and its user
_DATABASE_URL = "DATABASE_URL"
_SECRET_BYTES = 48  # 64 characters; the product asks for at least 50
_RUNS = "runs/"  # the product's folder for the attempts of runs


class StageData:
    """The resources that keep something for the product."""

    def __init__(self, names: StageNames) -> None:
        self._names = names
        self._stage = names.stage
        self._cloud = names.cloud

    @property
    def repository(self) -> Repository:
        return Repository(cloud=self._cloud, name=self._names.repository, labels=self._stage.labels)

    @property
    def files(self) -> Bucket:
        names = self._stage.buckets
        rules = [{"age": names.run_days, "matchesPrefix": [_RUNS]}] if names.run_days else []
        return self._bucket(
            names.files or f"{self._cloud.project}-{self._stage.name}-files", *rules
        )

    @property
    def media(self) -> Bucket:
        """The bucket whose objects everybody may read by name."""
        name = self._stage.buckets.media or f"{self._cloud.project}-{self._stage.name}-media"
        return self._bucket(name, is_public=True)

    def _bucket(self, name: str, *conditions: dict[str, Any], is_public: bool = False) -> Bucket:
        """Return a bucket that deletes noncurrent objects, and those that meet a condition."""
        days = self._stage.buckets.noncurrent_days
        noncurrent = [{"daysSinceNoncurrentTime": days}] if days else []
        return Bucket(
            cloud=self._cloud,
            name=name,
            labels=self._stage.labels,
            lifecycle=[
                {"action": {"type": "Delete"}, "condition": each}
                for each in (*noncurrent, *conditions)
            ],
            is_public=is_public,
        )

    @cached_property
    def secrets(self) -> list[Secret]:
        """The secrets: those that the operator gives, then those that are generated."""
        given = [self._secret(variable, None) for variable in self._stage.secrets]
        made = []
        if instance := self.instance:
            url = self._secret(_DATABASE_URL, self._database_url)
            made = [replace(url, fits=instance.is_at)]
        return [*given, *made, *(self._secret(variable, _random) for variable in GENERATED)]

    def custom_secrets(self, number: str) -> list[Secret]:
        """Return the secrets for the validators of an organisation; the operator gives their values."""
        return [
            replace(
                self._secret(variable, None),
                name=self._names.custom_secret(number, variable),
                variable="",  # it is none of the product
            )
            for variable in self._stage.custom_secrets[number]
        ]

    @property
    def all_secrets(self) -> list[Secret]:
        """Every secret of the stage; only `secrets` are for the product."""
        custom = map(self.custom_secrets, self._stage.custom_secrets)
        return [*self.secrets, *(secret for secrets in custom for secret in secrets)]

    def secret(self, name: str) -> Secret:
        """Return a secret by its name or by that of its variable. Raises DeployError."""
        for secret in self.all_secrets:
            if name and name in (secret.variable, secret.name):
                return secret
        known = ", ".join(secret.name for secret in self.all_secrets)
        raise DeployError(f"The stage has no secret {name!r:.60}; it has {known}.")

    def _secret(self, variable: str, make: Callable[[], str] | None) -> Secret:
        return Secret(
            cloud=self._cloud,
            stage=self._stage.name,
            name=self._names.secret(variable),
            variable=variable,
            labels=self._stage.labels,
            generate=make,
        )

    @property
    def instance(self) -> SqlInstance | None:
        """The instance of Cloud SQL, if the stage has one."""
        size = self._stage.database
        if size is None:
            return None
        return SqlInstance(
            cloud=self._cloud,
            name=size.instance or self._stage.named("db"),
            labels=self._stage.labels,
            tier=size.tier,
            edition=size.edition,
            is_regional=size.high_availability,
            disk_gb=size.disk_gb,
            is_protected=size.protected,
            network=size.network,
            backups=BackupPlan(start=size.backup_time, kept=size.backups, log_days=size.log_days),
        )

    def database(self) -> Iterator[Peering | SqlInstance | SqlDatabase]:
        """Yield the instance and its database, if the stage has one, and what its address needs."""
        if instance := self.instance:
            if instance.network:
                yield Peering(cloud=self._cloud, name=instance.network)
            yield instance
            yield SqlDatabase(cloud=self._cloud, instance=instance.name, database=_DATABASE)

    def users_of(self, secrets: Sequence[Secret]) -> Iterator[SqlUser]:
        """Yield the user of the database if the secret with the password is among `secrets`."""
        for secret in secrets:
            if (instance := self.instance) and secret.variable == _DATABASE_URL:
                yield SqlUser(
                    cloud=self._cloud, instance=instance.name, user=_DATABASE, secret=secret
                )

    def _database_url(self) -> str:
        """Return the address of the database with a new password."""
        assert self.instance is not None
        return self.instance.url(user=_DATABASE, password=_random(), database=_DATABASE)

    def queues(self) -> Iterator[Queue]:
        for name, limits in self._stage.queues:
            full = self._stage.named(name.replace("_", "-"))
            yield Queue(cloud=self._cloud, name=full, **limits.model_dump())


def _random() -> str:
    return generator.token_urlsafe(_SECRET_BYTES)
