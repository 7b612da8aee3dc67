"""A stage: one file with everything that differs between deployments.

`deploy/stages/NAME.toml` is the stage NAME. Everything is named after it, so several stages can
share a project. A wrong key or value is refused with file, line, key and what is allowed.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

BucketName = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{1,61}[a-z0-9])?$")]
BillingAccount = Annotated[str, Field(pattern=r"^[0-9A-F]{6}(-[0-9A-F]{6}){2}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
OrganisationNumber = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,9}$")]
# https://cloud.google.com/run/quotas
Value = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=32_768)]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi)$")]
Cpu = Literal["1", "2", "4", "6", "8"]


# Of Cloud Run: the least and the most memory in GiB of a number of processors.
_MEMORY_GIB = {"1": (0.5, 4), "2": (0.5, 8), "4": (2, 16), "6": (4, 24), "8": (4, 32)}
_LOG_DAYS = 7  # the most of the edition ENTERPRISE
# Variables that `deploy` or Cloud Run sets for each container.
_RESERVED = frozenset({"APP_ROLE", "PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
# Secrets that `deploy` generates.
GENERATED = ("DJANGO_SECRET_KEY", "API_KEY_PEPPER")
_DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+)?$"


class StagePart(BaseModel):
    """Table of a stage file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ServiceSize(StagePart):
    """Table `[web]` or `[worker]`: the size of a Cloud Run service; `timeout` in seconds.

    For the memory of so many processors see https://cloud.google.com/run/docs/configuring/services/cpu.
    """

    cpu: Cpu
    memory: Memory
    concurrency: Annotated[int, Field(ge=1, le=1000)]
    timeout: Annotated[int, Field(ge=1, le=3600)]
    min_instances: Annotated[int, Field(ge=0, le=1000)]
    max_instances: Annotated[int, Field(ge=1, le=1000)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"`min_instances` is {self.min_instances} and `max_instances` {self.max_instances}: "
                "set the first to at most the second"
            )
        low, high = _MEMORY_GIB[self.cpu]
        if not low <= int(self.memory[:-2]) / (1 if self.memory.endswith("Gi") else 1024) <= high:
            raise ValueError(
                f"`memory` is {self.memory!r}, and {self.cpu} processors need {low:g} to {high} GiB"
            )
        return self


class BucketNames(StagePart):
    """Table `[buckets]`: names that replace `<project>-<stage>-files` and `…-media`.

    `noncurrent_days` is how long an overwritten or deleted file can be restored, `run_days` how long
    files of runs are kept, results and evidence included; 0 is for ever.
    """

    files: BucketName = ""
    media: BucketName = ""
    noncurrent_days: Annotated[int, Field(ge=0, le=3650)] = 30
    run_days: Annotated[int, Field(ge=0, le=3650)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.files and self.files == self.media:
            raise ValueError(
                f"`files` and `media` are both {self.files!r}, and everybody may read media: choose two names"
            )
        return self


class QueueLimits(StagePart):
    """Table `[queues.NAME]`: limits of a queue; pauses between attempts in seconds."""

    max_dispatches_per_second: Annotated[float, Field(gt=0, le=500)]
    max_concurrent_dispatches: Annotated[int, Field(ge=1, le=5000)]
    max_attempts: Annotated[int, Field(ge=-1, le=1000)] = 100
    min_backoff: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    max_backoff: Annotated[float, Field(ge=0.1, le=3600)] = 60.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_backoff > self.max_backoff:
            raise ValueError(
                f"`min_backoff` is {self.min_backoff:g} and `max_backoff` {self.max_backoff:g}: set the "
                "first to at most the second"
            )
        if self.max_attempts == 0:
            raise ValueError("`max_attempts` is 0: set it to 1 or more, or to -1 for no limit")
        return self


class Queues(StagePart):
    """Table `[queues]`: the queues of the product."""

    runs: QueueLimits = QueueLimits(max_dispatches_per_second=100, max_concurrent_dispatches=100)
    exports: QueueLimits = QueueLimits(max_dispatches_per_second=10, max_concurrent_dispatches=4)
    fmu_probes: QueueLimits = QueueLimits(max_dispatches_per_second=10, max_concurrent_dispatches=4)
    webhooks: QueueLimits = QueueLimits(max_dispatches_per_second=50, max_concurrent_dispatches=20)


class Alerts(StagePart):
    """Table `[alerts]`: mail addresses that hear of what goes wrong; without one nothing is watched."""

    emails: list[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s.]+$")]] = []


class Budget(StagePart):
    """Table `[budget]`: the billing account, and the amount of a month with its currency."""

    account: BillingAccount
    amount: Annotated[str, Field(pattern=r"^[1-9][0-9]*[A-Z]{3}$")]


class ModalApp(StagePart):
    """Table `[modal]`: validators run at Modal and not as Cloud Run jobs.

    `environment` is that of the app, and `region` where its functions run; without them Modal chooses.
    `registry_secret` is the secret at Modal with a key that reads the images.
    """

    environment: Annotated[str, Field(pattern=r"^[\w.-]{0,64}$")] = ""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,40}$")] = ""
    registry_secret: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")] = "validibot-registry"  # noqa: S105


class DatabaseSize(StagePart):
    """Table `[database]`: a PostgreSQL of Cloud SQL; without it the stage brings its own address.

    `instance` is a name in place of `<stage>-db`, such as that of a clone. `backup_time` is UTC;
    `backups` are kept, and every change for `log_days`. Nothing deletes the instance while it is
    `protected`. With `network`, a VPC network of the project, it has a private address there and no
    public one.
    """

    instance: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,60}[a-z0-9])?$")] = ""
    tier: Annotated[str, Field(pattern=r"^db-[a-z0-9A-Z-]+$")]
    edition: Literal["ENTERPRISE", "ENTERPRISE_PLUS"] = "ENTERPRISE"
    high_availability: bool = False
    disk_gb: Annotated[int, Field(ge=10, le=65536)] = 10
    backup_time: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "16:00"
    backups: Annotated[int, Field(ge=1, le=365)] = 14
    log_days: Annotated[int, Field(ge=1, le=35)] = 7
    protected: bool = True
    network: Annotated[str, Field(pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$")] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_plus = self.edition == "ENTERPRISE_PLUS"
        if self.tier.startswith("db-perf-optimized-") != is_plus:
            raise ValueError(
                f"`tier` is {self.tier!r}, and the edition is {self.edition}: ENTERPRISE has db-custom-CPUS-MIB "
                "and db-g1-small, ENTERPRISE_PLUS has db-perf-optimized-N-CPUS"
            )
        if self.log_days > _LOG_DAYS and not is_plus:
            raise ValueError(
                f"`log_days` is {self.log_days}: set at most {_LOG_DAYS}, or the edition ENTERPRISE_PLUS"
            )
        return self

    @property
    def connections(self) -> int:
        """The connection limit that Cloud SQL gives an instance of this memory.

        See https://cloud.google.com/sql/docs/postgres/flags#postgres-m (max_connections).
        """
        return next(most for memory, most in _CONNECTIONS if self._memory_mb >= memory)

    @property
    def _memory_mb(self) -> int:
        if match := re.fullmatch(r"db-custom-[0-9]+-([0-9]+)", self.tier):
            return int(match[1])
        if match := re.fullmatch(r"db-perf-optimized-N-([0-9]+)", self.tier):
            return int(match[1]) * 8192
        return {"db-f1-micro": 614, "db-g1-small": 1740}.get(self.tier, 0)


# Memory in MiB from which on an instance has so many connections.
_CONNECTIONS = (
    *((122_880, 1000), (61_440, 800), (30_720, 600), (15_360, 500), (7_680, 400)),
    *((6_144, 200), (3_840, 100), (1_700, 50), (0, 25)),
)


class Stage(StagePart):
    """One deployment of the product. `name` is that of the file.

    `env` are further variables of the product, and `secrets` the names of variables whose values the
    operator puts into Secret Manager. With `custom_validators` organisations may register images; those
    that must not reach the internet send all traffic into `custom_subnetwork`, and `custom_secrets` are
    names of secrets that those of an organisation, given by its number, may read.
    `former_budget_accounts` are billing accounts that had the budget before; `apply` deletes it there.
    Without `map_domain` something else than Cloud Run leads `domain` to the service.
    """

    name: str
    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    region: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]{1,2}$")] = "australia-southeast1"
    domain: Annotated[str, Field(pattern=_DOMAIN, max_length=253)] = ""
    map_domain: bool = True
    image_tag: Annotated[str, Field(pattern=r"^[\w][\w.-]{0,127}$")]
    web: ServiceSize
    worker: ServiceSize
    buckets: BucketNames = BucketNames()
    queues: Queues = Queues()
    database: DatabaseSize | None = None
    alerts: Alerts = Alerts()
    budget: Budget | None = None
    former_budget_accounts: list[BillingAccount] = []
    modal: ModalApp | None = None
    custom_validators: bool = False
    custom_subnetwork: Annotated[str, Field(pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$")] = ""
    custom_secrets: dict[OrganisationNumber, list[Variable]] = {}
    env: dict[Variable, Value] = {}
    secrets: list[Variable] = []

    @model_validator(mode="after")
    def _check_variables(self) -> Self:
        """Refuse a variable that has two values, or that is not the operator's to set."""
        for name in self.secrets:
            if name in self.env or self.secrets.count(name) > 1:
                raise ValueError(f"{name} is there twice: leave it in `secrets` only, and once")
        for name in (*self.secrets, *self.env):
            if name in GENERATED:
                raise ValueError(
                    f"{name} is generated: remove it. To give it a value of your own, run `python -m deploy "
                    f"secrets set {self.name} {name}`"
                )
            if name in _RESERVED:
                raise ValueError(f"{name} is set for each container: remove it")
        return self

    @model_validator(mode="after")
    def _check_database_url(self) -> Self:
        if self.database and "DATABASE_URL" in (*self.secrets, *self.env):
            raise ValueError(
                "`[database]` makes DATABASE_URL: remove it from `secrets` and `[env]`, or the table"
            )
        return self

    @model_validator(mode="after")
    def _check_modal(self) -> Self:
        if self.modal is None:
            return self
        for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
            if name not in self.secrets:
                raise ValueError(f"`[modal]` needs {name}: add it to `secrets`, then set its value")
        if self.custom_validators:
            raise ValueError(
                "`custom_validators` needs Cloud Run jobs: set it to false, or remove `[modal]`"
            )
        return self

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.budget and self.budget.account in self.former_budget_accounts:
            raise ValueError(
                f"`former_budget_accounts` has {self.budget.account}, which has the budget: remove it there"
            )
        return self

    @model_validator(mode="after")
    def _check_custom(self) -> Self:
        own = self.custom_secrets.items()
        if same := {f"CUSTOM_{n}_{name}" for n, each in own for name in each} & {*self.secrets}:
            raise ValueError(
                f"{min(same)} in `secrets` would be the same secret as one in `[custom_secrets]`: rename it"
            )
        for name in () if self.custom_validators else ("custom_subnetwork", "custom_secrets"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` is for custom validators: set `custom_validators` to true"
                )
        return self

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every resource that can have labels."""
        return {"stage": self.name, "managed-by": "deploy"}

    def named(self, name: str) -> str:
        """Return the name of a resource of this stage: `<stage>-<name>`."""
        return f"{self.name}-{name}"


def variables_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return variables with empty values left out, and lists joined by commas."""
    joined = {k: ",".join(v) if isinstance(v, list) else str(v) for k, v in values.items()}
    return {name: value for name, value in joined.items() if value}
