"""devenv.toml as frozen values: the ports that we ask for, the cloud that is emulated or real."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from devenv.gcp import config as gcp
from devenv.gcp.config import CloudConfig, ConfigError
from devenv.tunnel import config as tunnels
from devenv.tunnel.config import TunnelConfig

FILE = "devenv.toml"
# What is one developer's own, and not committed.
LOCAL_FILE = "devenv.local.toml"
_TABLES = ("ports", "gcp", "external", "tunnel")
_SCHEMES = {
    "postgres": ("postgres", "postgresql"),
    "smtp": ("smtp",),
    "mail": ("http", "https"),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each thing that listens; the defaults are the usual ones."""

    web: int = 8000
    worker: int = 8001
    queue: int = 8002
    postgres: int = 5432
    mail: int = 8025
    smtp: int = 1025
    gcp: int = 4588


@dataclass(frozen=True, slots=True)
class External:
    """Servers that somebody else runs: ours of the same kind is then not started.

    URLs: `postgres` with user, password and database; `smtp` takes mails, `mail` is the page that
    shows them. All with a port.
    """

    postgres: str = ""
    smtp: str = ""
    mail: str = ""


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

    def cloud_service(self, port: int) -> gcp.Service:
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
    """Read devenv.toml in `root`, and `[tunnel]` of devenv.local.toml too. Raises ConfigError."""
    data = _read(root / FILE, _TABLES)
    cloud = gcp.parse(data.get("gcp", {}))
    own = _read(root / LOCAL_FILE, ("tunnel",)) if (root / LOCAL_FILE).exists() else {}
    tunnel = {**data.get("tunnel", {}), **own.get("tunnel", {})}
    jobs = [job.name for job in cloud.jobs]
    return Config(
        root=root,
        ports=_ports(data.get("ports", {})),
        cloud=cloud,
        external=_external(data.get("external", {})),
        tunnel=tunnels.parse(tunnel, jobs=jobs) if tunnel else None,
    )


def _read(path: Path, tables: tuple[str, ...]) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is not there.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}.") from error
    known = ", ".join(f"[{name}]" for name in tables)
    for name, table in data.items():
        if name not in tables:
            raise ConfigError(f"{path.name} has the unknown table [{name}]; known are {known}.")
        if not isinstance(table, dict):
            raise ConfigError(f"{path.name}: {name} is {table!r:.60}; it must be a table.")
    return data


def _ports(data: Mapping[str, Any]) -> Ports:
    known = [field.name for field in fields(Ports)]
    for name, port in data.items():
        if name not in known:
            raise ConfigError(f"ports has the unknown key {name!r}; known are {', '.join(known)}.")
        if type(port) is not int or not 0 < port < 65536:
            raise ConfigError(f"ports.{name} is {port!r}; it must be a number from 1 to 65535.")
    return Ports(**data)


def _external(data: Mapping[str, Any]) -> External:
    for name, text in data.items():
        if name not in _SCHEMES:
            known = ", ".join(_SCHEMES)
            raise ConfigError(f"external has the unknown key {name!r}; known are {known}.")
        schemes = _SCHEMES[name]
        parts = urlsplit(str(text))
        if parts.scheme not in schemes or not parts.hostname or not _has_port(parts):
            wanted = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
            raise ConfigError(f"external.{name} is {text!r}; it must be {wanted}.")
    return External(**data)


def _has_port(parts: SplitResult) -> bool:
    try:
        return parts.port is not None
    except ValueError:
        return False


def _values(ports: Ports) -> list[int]:
    return [getattr(ports, field.name) for field in fields(ports)]
