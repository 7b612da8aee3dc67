"""Tables of devenv.toml that describe a stack. Their fields are the keys of the file.

docs/stack.md is their reference. Texts may have references, see `devenv.gcp.references`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field

from devenv.gcp.config import CloudConfig
from devenv.gcp.tables import TABLE, ConfigError, Key, Like, Port, dotted
from devenv.tunnel.config import TunnelPath

_NUMBER = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
Seconds = Annotated[float, Field(gt=0, le=3600)]


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"it must be a regular expression: {error}") from error
    return text


# A glob below the folder of devenv.toml. `**` beside other characters is refused by older Pythons.
Glob = Annotated[
    str,
    Like(
        re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|$))(?!.*(?:\*\*[^/]|[^/]\*\*))[^\0]+"), "src/**/*.py"
    ),
    AfterValidator(
        lambda text: PurePosixPath(text).as_posix()
    ),  # `./src` is `src`, as edits are named
]
Folder = Annotated[str, Like(re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\0]*"), "backend/api")]


def _url(*schemes: str) -> Like:
    wanted = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
    pattern = rf"(?:{'|'.join(schemes)})://(?:[^\s/@]+@)?[\w.\[\]:-]+:{_NUMBER}(?:[/?]\S*)?"
    return Like(re.compile(pattern), wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The moment from which others may use a service: exactly one of four proofs, `within` seconds.

    `http` is a path that answers 2xx, `tcp` a port that accepts a connection, `log` a regular
    expression that a line of the log has, `command` one that exits with 0.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    http: Annotated[str, Like(re.compile(r"/\S*"), "/health")] = ""
    tcp: bool = False
    log: Annotated[str, AfterValidator(_regular_expression)] = ""
    command: tuple[str, ...] = ()
    within: Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandService:
    """A service of any kind: `command` on this machine, or a container of `image`.

    The command runs in `folder`, by default that of devenv.toml; globs begin at the latter always.
    `env_from` names tables below `[env]`, which several services share; `env` goes before them.
    With `account` it is that service account of the emulated cloud; with `url` it is a Cloud Run
    service there, by the name `run_service`, which only invokers reach if it is private. With `once`
    it is a step that ends, and runs again when `inputs` (globs) or its variables change. `watch`
    (globs) restarts it after edits, or runs a step again; `reload = "handover"` starts the new process beside the old one
    on the same port. `debugger` is `launch` for a Python program that debugpy shall start, or the
    name of the variable that gets the debugger's port.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    command: tuple[str, ...] = ()
    folder: Folder = ""
    image: str = ""
    image_port: Port | None = None
    port: Port | None = None
    host: str = "127.0.0.1"
    account: str = ""
    url: Literal["", "public", "private"] = ""
    run_service: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    env_from: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    ready: Ready | None = None
    once: bool = False
    inputs: tuple[Glob, ...] = ()
    watch: tuple[Glob, ...] = ()
    reload: Literal["restart", "handover"] = "restart"
    debugger: Annotated[str, Like(re.compile(r"launch|[A-Z][A-Z0-9_]*"), "launch or PORT")] = ""
    label: str = ""
    page: Annotated[str, Like(re.compile(r"/\S*"), "/admin")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresService:
    """The built-in service `postgres`: PostgreSQL from a Python package, or the server `external`.

    `database` is also the name of the role that owns it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    port: Port = 5432
    database: Annotated[str, Like(re.compile(r"[a-z_][a-z0-9_]{0,62}"), "shop")] = "app"
    external: Annotated[str, _url("postgres", "postgresql")] = ""
    label: str = "PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailService:
    """The built-in service `mail`: a mail catcher, or the server `external` with its page."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    port: Port = 8025
    smtp_port: Port = 1025
    external: Annotated[str, _url("smtp")] = ""
    external_page: Annotated[str, _url("http", "https")] = ""
    label: str = "Mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpService:
    """The built-in service `gcp`: the emulated cloud that `[gcp]` describes.

    Edits of `watch` (globs) renew the processes that wait with the modules of a job imported.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    port: Port = 4588
    watch: tuple[Glob, ...] = ()
    label: str = "Google APIs"


def _distinct(paths: tuple[TunnelPath, ...]) -> tuple[TunnelPath, ...]:
    if len({one.path for one in paths}) < len(paths):
        raise ValueError("each `path` must be there once")
    return paths


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelService:
    """The built-in service `tunnel`: the public URL at which Google's own cloud calls `target`.

    It leads to `paths` only. `job_env` names the variables that a job gets beside its own, for the
    dry run.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    target: str
    paths: Annotated[tuple[TunnelPath, ...], Field(min_length=1), AfterValidator(_distinct)]
    job_env: tuple[str, ...] = ()
    label: str = "Tunnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleService:
    """The built-in service `console`: the stack and its emulated cloud in a browser."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    port: Port = 8090
    label: str = "Console"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcPerson:
    """A person that the sign-in page of the provider offers."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    email: Annotated[str, Like(re.compile(r"[^@\s]+@[^@\s]+"), "ada@example.org")]
    name: str = ""
    email_verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcService:
    """The built-in service `oidc`: an OpenID Connect provider that signs in as anybody.

    It has one client, `client_id`, with the secret `{oidc.client_secret}`; only `redirect_uris` get
    its answers. `people` are offered beside a field for any address.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    port: Port = 8030
    client_id: Annotated[str, Like(re.compile(r"[\w.-]{1,100}"), "shop")] = "app"
    redirect_uris: tuple[
        Annotated[str, Like(re.compile(r"(?:https?://|\{)\S+"), "http://localhost:8000/callback")],
        ...,
    ] = ()
    people: tuple[OidcPerson, ...] = (OidcPerson(email="ada@example.org", name="Ada Example"),)
    label: str = "Sign-in provider"


AnyService: TypeAlias = (
    CommandService
    | PostgresService
    | MailService
    | GcpService
    | TunnelService
    | ConsoleService
    | OidcService
)
BUILT_IN: Mapping[str, type[AnyService]] = {
    "postgres": PostgresService,
    "mail": MailService,
    "gcp": GcpService,
    "tunnel": TunnelService,
    "console": ConsoleService,
    "oidc": OidcService,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutStack:
    """`[stack]`: its name, the profile of a plain `up`, the file in which a step writes more facts.

    `hide` are beginnings of names of variables in the developer's shell that no service shall see.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: str = ""
    profile: str = ""
    facts_file: str = ""
    hide: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An overlay of the file: `services`, `env` and `gcp` have the keys that differ.

    Tables are merged key by key, other values are replaced, and `false` removes what the file has.
    A profile with `on` is not chosen by name: it lies on each of those when jobs or the whole stack
    run as it says. `switch` is a variable of the shell that makes it the default.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    title: str = ""
    on: tuple[str, ...] = ()
    jobs: Literal["", "process", "docker"] = ""
    runtime: Literal["", "docker"] = ""
    switch: str = ""
    credentials: Literal["emulated", "developer"] = "emulated"
    callback_network: bool = False
    services: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    gcp: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The table that ends `up`: rows of a label and a text, and lines to paste into a shell.

    A row or line is left out while a fact that it refers to is unknown.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    rows: tuple[tuple[str, str], ...] = ()
    paste: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """`[run]`: the service whose environment `devenv run` gives a command, and more variables."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    service: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCheck:
    """`[checks.NAME]`: a check of `doctor`. With `up`, a start warns of its failure, too.

    The command prints what it found and, in a second line, what helps; 0 means that all is well.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """The stack in one profile: `layers` are the profiles that lie on the file, the last on top."""

    layers: tuple[str, ...] = ()
    title: str = ""
    credentials: Literal["emulated", "developer"] = "emulated"
    callback_network: bool = False
    hide: tuple[str, ...] = ()
    services: Mapping[str, AnyService] = field(default_factory=dict)
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cloud: CloudConfig = field(default_factory=CloudConfig)

    def commands(self) -> Mapping[str, CommandService]:
        """Return the services that are not built in."""
        return {n: one for n, one in self.services.items() if isinstance(one, CommandService)}

    @property
    def tunnel(self) -> TunnelService | None:
        service = self.services.get("tunnel")
        return service if isinstance(service, TunnelService) else None

    def is_started(self, name: str) -> bool:
        """Return whether the stack starts a service: it is there, and no external server."""
        service = self.services.get(name)
        return service is not None and not getattr(service, "external", "")

    def wanted_ports(self) -> dict[str, int]:
        """Return the port of each thing that shall listen."""
        ports: dict[str, int] = {}
        for name, service in self.services.items():
            if self.is_started(name) and (port := getattr(service, "port", None)):
                ports[name] = port
            if isinstance(service, MailService) and self.is_started(name):
                ports["smtp"] = service.smtp_port
        return ports


def check_service(service: CommandService, key: Key) -> None:
    """Raise ConfigError if keys of a service contradict each other."""
    problems = {
        "needs `command`, or the `image` of a container": not service.command and not service.image,
        "has a `command` whose program is empty": service.command[:1] == ("",),
        "cannot have an `image` and a `folder`": bool(service.image and service.folder),
        "needs `image_port`, the port inside the container": bool(
            service.image and service.port and not service.image_port
        ),
        "needs a `port`, as it has a `url`": bool(service.url and not service.port),
        "needs an `account`, as it has a `url`": bool(service.url and not service.account),
        "needs a `port`, as it has a `page`": bool(service.page and not service.port),
        "cannot have an `image` and a `debugger`": bool(service.image and service.debugger),
        'needs a `command` that begins with "{python}" for `debugger = "launch"`': (
            service.debugger == "launch" and service.command[:1] != ("{python}",)
        ),
        "needs `once`, as it has `inputs`": bool(service.inputs and not service.once),
        "needs a `port` for `ready.http` and `ready.tcp`": bool(
            service.ready and (service.ready.http or service.ready.tcp) and not service.port
        ),
        'needs a `port` and `watch` for `reload = "handover"`': service.reload == "handover"
        and not (service.port and service.watch),
        "needs exactly one of `http`, `tcp`, `log`, `command` in `ready`": service.ready is not None
        and _proofs(service) != 1,
        "cannot be `once` and have a `port` or `ready`": bool(
            service.once and (service.port or service.ready)
        ),
    }  # fmt: skip
    for text, is_wrong in problems.items():
        if is_wrong:
            raise ConfigError(f"{dotted(key)} {text}.", key=key)


def _proofs(service: CommandService) -> int:
    ready = service.ready
    return sum(map(bool, (ready.http, ready.tcp, ready.log, ready.command))) if ready else 0
