"""devenv.toml as frozen values: the wanted ports, the emulated or real cloud, external servers."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict

from devenv.gcp import config as gcp
from devenv.gcp.config import CloudConfig
from devenv.gcp.tables import TABLE, ConfigError, Key, Like, Port, read_table
from devenv.tunnel import config as tunnels
from devenv.tunnel.config import TunnelConfig

FILE = "devenv.toml"
# Settings of one developer, which are not committed.
LOCAL_FILE = "devenv.local.toml"
_TABLES = ("ports", "gcp", "external", "tunnel")


def _url(*schemes: str) -> Like:
    wanted = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
    port = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
    return Like(
        re.compile(rf"(?:{'|'.join(schemes)})://(?:[^\s/@]+@)?[\w.\[\]:-]+:{port}(?:[/?]\S*)?"),
        wanted,
    )


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each thing that listens; the defaults are the usual ones."""

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    web: Port = 8000
    worker: Port = 8001
    queue: Port = 8002
    postgres: Port = 5432
    mail: Port = 8025
    smtp: Port = 1025
    gcp: Port = 4588


@dataclass(frozen=True, slots=True)
class External:
    """External servers, in place of which no own service is started.

    URLs with a port: `postgres` with user, password and database; `smtp` receives mails, `mail` is
    the page that shows them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    postgres: Annotated[str, _url("postgres", "postgresql")] = ""
    smtp: Annotated[str, _url("smtp")] = ""
    mail: Annotated[str, _url("http", "https")] = ""


@dataclass(frozen=True, slots=True)
class Config:
    """`root` is the folder of devenv.toml; `state` holds everything that `make reset` deletes."""

    root: Path
    ports: Ports
    cloud: CloudConfig
    external: External = External()
    tunnel: TunnelConfig | None = None

    @property
    def file(self) -> Path:
        return self.root / FILE

    @property
    def state(self) -> Path:
        return self.root / ".devenv"

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def secrets_file(self) -> Path:
        return self.state / "secrets.env"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def seed_file(self) -> Path:
        return self.state / "seed.json"

    @property
    def bridge_file(self) -> Path:
        return self.state / "bridge"

    def need_tunnel(self) -> TunnelConfig:
        """Return the tunnel's configuration. Raises ConfigError where there is none."""
        if self.tunnel is None:
            raise ConfigError(
                f"There is no table [tunnel], neither in {FILE} nor in {LOCAL_FILE}; "
                "docs/modes/tunnel.md has one to copy."
            )
        return self.tunnel

    def cloud_service(self, port: int) -> gcp.ServiceConfig:
        """Return the Cloud Run service that leads to `port`."""
        for service in self.cloud.services:
            if service.port == port:
                return service
        raise ConfigError(f"gcp.services has no service with the port {port}.")

    def on(self, ports: Ports) -> "Config":
        """Return this configuration on other ports; the cloud's services move along."""
        moved = dict(zip(_values(self.ports), _values(ports), strict=True))
        services = tuple(
            replace(service, port=moved.get(service.port, service.port))
            for service in self.cloud.services
        )
        return replace(self, ports=ports, cloud=replace(self.cloud, services=services))


def load(root: Path) -> Config:
    """Read devenv.toml in `root`, and `[tunnel]` of devenv.local.toml too. Raises ConfigError.

    The message begins with file and line.
    """
    file, local = TomlFile.read(root / FILE, _TABLES), None
    if (root / LOCAL_FILE).exists():
        local = TomlFile.read(root / LOCAL_FILE, ("tunnel",))
    own = local.tables.get("tunnel", {}) if local else {}
    with file.errors():
        cloud = gcp.parse(file.tables.get("gcp", {}))
        ports = read_table(Ports, file.tables.get("ports", {}), "ports")
        external = read_table(External, file.tables.get("external", {}), "external")
    tunnel = {**file.tables.get("tunnel", {}), **own}
    with (local or file).errors():
        return Config(
            root=root,
            ports=ports,
            cloud=cloud,
            external=external,
            tunnel=tunnels.parse(tunnel, jobs=[job.name for job in cloud.jobs]) if tunnel else None,
        )


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file of configuration: its tables, and its text to find the lines of errors in."""

    path: Path
    text: str
    tables: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, known: tuple[str, ...]) -> Self:
        """Read a file. Raises ConfigError, also for tables that are not among the known ones."""
        try:
            text = path.read_text(encoding="utf-8")
            file = cls(path, text, tomllib.loads(text))
        except FileNotFoundError as error:
            raise ConfigError(f"{path} is not there.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}.") from error
        with file.errors():
            for name, table in file.tables.items():
                if name not in known:
                    tables = ", ".join(f"[{one}]" for one in known)
                    raise ConfigError(f"unknown table [{name}]; known are {tables}.", key=(name,))
                if not isinstance(table, dict):
                    raise ConfigError(f"{name} is {table!r:.60}; it must be a table.", key=(name,))
        return file

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Put file and line before the messages of ConfigErrors."""
        try:
            yield
        except ConfigError as error:
            line = line_of(self.text, error.key)
            place = f"{self.path.name}:{line}" if line else self.path.name
            raise ConfigError(f"{place}: {error}", key=error.key) from error


_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


def line_of(text: str, key: Key) -> int:
    """Return the line of a key in TOML, or of the closest table around it; 0 if there is none.

    tomllib has no positions. Keys inside a value that spans lines are found at the value's line, or
    at the line of their element where each element begins a line of its own.
    """
    best, best_line, prefix, counts = 0, 0, (), {}  # type: int, int, Key, dict[Key, int]
    elements = -1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            prefix = tuple(part.strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = (*prefix, counts[prefix])
            here, elements = prefix, -1
        elif ((assigned := _KEY.match(line)) and elements < 0) or (
            assigned and not line[:1].isspace()
        ):
            here = (*prefix, *(part.strip("\"'") for part in assigned[1].split(".")))
            elements = 0 if line.rstrip().endswith("[") else -1
            array = here
        elif elements >= 0 and line.lstrip()[:1] in ("{", '"', "'"):
            here = (*array, elements)
            elements += 1
        else:
            continue
        if len(here) > best and key[: len(here)] == here:
            best, best_line = len(here), number
    return best_line


def _values(ports: Ports) -> list[int]:
    return [getattr(ports, field.name) for field in fields(ports)]
