"""The `[gcp]` table of devenv.toml: one emulated project as frozen values.

Keys in the file are the field names. A wrong key or value is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

type IamMode = Literal["off", "warn", "strict"]


class ConfigError(Exception):
    """devenv.toml says something that cannot be; the message names the key and the value."""


@dataclass(frozen=True, slots=True)
class Binding:
    """`member` (a service account's short name, or `allUsers`) has `role` on `resource`.

    `resource` is `project`, or `bucket/NAME`, `queue/NAME`, `job/NAME`, `service/NAME`,
    `account/NAME`.
    """

    member: str
    role: str
    resource: str = "project"


@dataclass(frozen=True, slots=True)
class Queue:
    """A Cloud Tasks queue; durations in seconds, defaults are Google's."""

    name: str
    max_dispatches_per_second: float = 500.0
    max_concurrent_dispatches: int = 1000
    max_attempts: int = 100
    max_retry_duration: float = 0.0
    min_backoff: float = 0.1
    max_backoff: float = 3600.0
    max_doublings: int = 16


@dataclass(frozen=True, slots=True)
class Job:
    """A Cloud Run job. `timeout` in seconds; `env` is set in the container."""

    name: str
    image: str
    account: str
    timeout: float = 600.0
    max_retries: int = 3
    cpu: str = "1000m"
    memory: str = "512Mi"
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """What the `process` runtime runs for a container image; `{python}` is this interpreter.

    `warm` are modules that a waiting process has imported before a task is there; they change
    when a task starts, never what it does. Only for commands `{python} -m MODULE`.
    """

    name: str
    command: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A Cloud Run service: host names under run.app that lead to `port` of `host`."""

    name: str
    port: int
    account: str
    public: bool = False
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A Cloud Scheduler job: `schedule` is unix-cron in `time_zone`, `account` signs the ID token."""

    name: str
    schedule: str
    uri: str
    account: str
    audience: str = ""
    time_zone: str = "Etc/UTC"
    method: str = "POST"
    body: str = ""


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """One emulated project. `number` is the project number, 12 digits as Google's are.

    `storage` is the URL of a server that is Cloud Storage instead of ours.
    """

    project: str = "validibot-local"
    number: str = "123456789012"
    region: str = "us-west1"
    iam: IamMode = "strict"
    accounts: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()
    buckets: tuple[str, ...] = ()
    queues: tuple[Queue, ...] = ()
    images: tuple[Image, ...] = ()
    jobs: tuple[Job, ...] = ()
    services: tuple[Service, ...] = ()
    schedules: tuple[ScheduledJob, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    storage: str = ""

    def email(self, account: str) -> str:
        """Return the full address of the service account `account` (full addresses pass through)."""
        if "@" in account:
            return account
        return f"{account}@{self.project}.iam.gserviceaccount.com"

    def service_url(self, service: str) -> str:
        """Return the deterministic URL that Cloud Run gives `service`."""
        return f"https://{service}-{self.number}.{self.region}.run.app"


_LISTS: Mapping[str, type[Any]] = {
    "bindings": Binding,
    "queues": Queue,
    "images": Image,
    "jobs": Job,
    "services": Service,
    "schedules": ScheduledJob,
}


def parse(data: Mapping[str, Any]) -> CloudConfig:
    """Turn the `[gcp]` table of devenv.toml into a CloudConfig. Raises ConfigError."""
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key in _LISTS:
            values[key] = tuple(_entry(key, index, item) for index, item in enumerate(value))
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    config = _make("gcp", CloudConfig, values)
    if config.iam not in ("off", "warn", "strict"):
        raise ConfigError(f"gcp.iam is {config.iam!r}; it must be 'off', 'warn' or 'strict'.")
    return config


def _entry(key: str, index: int, item: Any) -> Any:
    if not isinstance(item, Mapping):
        raise ConfigError(f"gcp.{key}[{index}] is {item!r}; it must be a table.")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in item.items()}
    return _make(f"gcp.{key}[{index}]", _LISTS[key], values)


def _make[T](where: str, kind: type[T], values: Mapping[str, Any]) -> T:
    known = set(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    if unknown := sorted(set(values) - known):
        raise ConfigError(
            f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}."
        )
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}.") from error
