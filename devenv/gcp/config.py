"""The `[gcp]` table of devenv.toml: one emulated project as frozen values.

Keys in the file are the field names. A wrong key or value is refused by name. Some texts may have
references (`_REFERRING`). A `CloudPlace` holds the settings of the machine: addresses, and how jobs run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import ConfigDict

from devenv.gcp.references import References
from devenv.gcp.tables import (
    TABLE,
    AccountName,
    Key,
    Port,
    ProjectId,
    ProjectNumber,
    Region,
    read_table,
)

_T = TypeVar("_T")

IamMode = Literal["off", "warn", "strict"]


@dataclass(frozen=True, slots=True)
class IamBinding:
    """`member` (a service account's short name, or `allUsers`) has `role` on `resource`.

    `resource` is `project`, or `bucket/NAME`, `queue/NAME`, `job/NAME`, `service/NAME`,
    `account/NAME`, `secret/NAME`, `topic/NAME`, `subscription/NAME`. `condition` is a CEL expression; the binding counts while it is
    true.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    member: str
    role: str
    resource: str = "project"
    condition: str = ""


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """A Cloud Tasks queue; durations in seconds, defaults are Google's."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    max_dispatches_per_second: float = 500.0
    max_concurrent_dispatches: int = 1000
    max_attempts: int = 100
    max_retry_duration: float = 0.0
    min_backoff: float = 0.1
    max_backoff: float = 3600.0
    max_doublings: int = 16


@dataclass(frozen=True, slots=True)
class JobConfig:
    """A Cloud Run job. `timeout` in seconds; `env` is set in the container."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    image: str
    account: str
    timeout: float = 600.0
    max_retries: int = 3
    cpu: str = "1000m"
    memory: str = "512Mi"
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The command that the `process` runtime runs for a container image; `{python}` is this interpreter.

    `warm` are modules that a waiting process has imported before a task is there; they change
    when a task starts, never what it does. Only for commands `{python} -m MODULE`. `build` is the
    command that makes the image, named where the `docker` runtime does not find it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    command: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    build: str = ""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """A Cloud Run service: host names under run.app that lead to `port` of `host`."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    port: Port
    account: str
    public: bool = False
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """A Cloud Scheduler job: `schedule` is unix-cron in `time_zone`, `account` signs the ID token."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    schedule: str
    uri: str
    account: str
    audience: str = ""
    time_zone: str = "Etc/UTC"
    method: str = "POST"
    body: str = ""


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """A Pub/Sub topic, which keeps its messages for `retention` seconds whatever becomes of them."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    retention: float = 0.0


@dataclass(frozen=True, slots=True)
class SubscriptionConfig:
    """A Pub/Sub subscription; durations in seconds, without `max_backoff` there is no retry policy.

    Messages are pushed to the URL `push`, if there is one, with an ID token of `account`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str
    topic: str
    push: str = ""
    account: str = ""
    audience: str = ""
    ack_deadline: int = 10
    filter: str = ""
    ordered: bool = False
    exactly_once: bool = False
    dead_letter_topic: str = ""
    max_delivery_attempts: int = 5
    min_backoff: float = 10.0
    max_backoff: float = 0.0


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """One emulated project. `number` is the project number, 12 digits as Google's are.

    `storage` is the URL of a server that is Cloud Storage instead of ours; `sql_server` that of the
    PostgreSQL, as a superuser, that all instances of Cloud SQL are. `roles` are custom roles by
    their ids, with their permissions. `domains` are those that its owner has verified. `secrets` are
    secrets that exist at the start by their names, each with the value of its first version ("":
    without one). An instance of a Cloud Run service that was deployed by API stops after
    `instances_idle` seconds without a request (0: never); each start of one takes `cold_start`
    seconds longer.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    project: ProjectId = "local-project"
    number: ProjectNumber = "123456789012"
    region: Region = "us-west1"
    iam: IamMode = "strict"
    accounts: tuple[AccountName, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bindings: tuple[IamBinding, ...] = ()
    buckets: tuple[str, ...] = ()
    queues: tuple[QueueConfig, ...] = ()
    images: tuple[ImageConfig, ...] = ()
    jobs: tuple[JobConfig, ...] = ()
    services: tuple[ServiceConfig, ...] = ()
    schedules: tuple[ScheduleConfig, ...] = ()
    topics: tuple[TopicConfig, ...] = ()
    subscriptions: tuple[SubscriptionConfig, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    allow_hosts: tuple[str, ...] = ()
    storage: str = ""
    sql_server: str = ""
    domains: tuple[str, ...] = ()
    instances_idle: float = 900.0
    cold_start: float = 0.0

    def email(self, account: str) -> str:
        """Return the full address of the service account `account` (full addresses pass through)."""
        if "@" in account:
            return account
        return f"{account}@{self.project}.iam.gserviceaccount.com"

    @property
    def default_account(self) -> str:
        """The account of workloads that name none: Compute Engine's default one."""
        return f"{self.number}-compute@developer.gserviceaccount.com"

    def service_url(self, service: str) -> str:
        """Return the deterministic URL that Cloud Run gives `service`."""
        return f"https://{service}-{self.number}.{self.region}.run.app"


def parse(data: Mapping[str, Any]) -> CloudConfig:
    """Return the `[gcp]` table of devenv.toml as a CloudConfig. Raises ConfigError."""
    return read_table(CloudConfig, data, "gcp")


# Fields whose texts may have references: `{services.web.url}`. Names by which the stack itself finds
# things have none, nor have conditions, whose templates use braces themselves.
_REFERRING: Mapping[type[Any], tuple[str, ...]] = {
    CloudConfig: (
        *("bindings", "buckets", "images", "jobs", "schedules", "secrets", "sql_server"),
        "storage",
        "subscriptions",
    ),
    IamBinding: ("resource", "role"),
    ImageConfig: ("command",),
    JobConfig: ("env",),
    ScheduleConfig: ("uri", "audience", "body"),
    SubscriptionConfig: ("push", "audience"),
}


def own_values(config: CloudConfig) -> dict[str, str]:
    """Return the values about a project that texts may refer to."""
    return {
        "gcp.project": config.project,
        "gcp.number": config.number,
        "gcp.region": config.region,
        **{f"gcp.accounts.{one}": config.email(one) for one in config.accounts},
    }


def expand(config: CloudConfig, references: References) -> CloudConfig:
    """Return a project with values in place of references. Raises ConfigError for unknown ones.

    `{python}` in the command of an image stays: the runtime knows by it which processes can wait.
    """
    known = References({**references.values, "python": "{python}"})

    def expanded(text: str, key: Key) -> str:
        known.require(text, key)
        return known.expand(text)

    return _replaced(config, expanded, ("gcp",))


def require_references(config: CloudConfig, references: References) -> None:
    """Raise ConfigError if a text of the project has an unknown reference."""

    def required(text: str, key: Key) -> str:
        references.require(text, key)
        return text

    _replaced(config, required, ("gcp",))


def _replaced(value: _T, change: Callable[[str, Key], str], key: Key) -> _T:
    """Return a value whose texts, those that may have references, are changed."""
    new: Any = value
    if isinstance(value, str):
        new = change(value, key)
    elif isinstance(value, Mapping):
        new = {name: _replaced(one, change, (*key, name)) for name, one in value.items()}
    elif isinstance(value, tuple):
        new = tuple(_replaced(one, change, (*key, number)) for number, one in enumerate(value))
    elif names := _REFERRING.get(type(value)):
        fields = {name: _replaced(getattr(value, name), change, (*key, name)) for name in names}
        new = replace(new, **fields)
    return new  # type: ignore[no-any-return]


JobRuntime: TypeAlias = Literal["process", "docker"]

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudPlace:
    """`bind` is the address of every listener; without `plain_port` the last one is used again.

    `container_host` is the name by which other containers find this one; `network` is an existing
    network for the containers of jobs, in place of one of their own. `container` is the id of the
    emulator's own container: each job's container then gets a network that it shares with the
    emulator alone. `label` tells clouds apart whose data have the same path in their containers.
    """

    jobs: JobRuntime = "process"
    bind: str = LOOPBACK
    plain_port: int = 0
    container_host: str = ""
    network: str = ""
    container: str = ""
    label: str = ""

    @property
    def is_container(self) -> bool:
        """Return whether clients come from other containers."""
        return self.bind != LOOPBACK

    @property
    def host(self) -> str:
        """Return the host name or address under which clients find this emulator."""
        return (self.container_host or self.bind) if self.is_container else LOOPBACK


HERE = CloudPlace()
