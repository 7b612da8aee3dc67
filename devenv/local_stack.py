"""The stack of one folder in one profile, with the ports and secrets that it has taken."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from devenv.gcp.config import CloudConfig, ServiceConfig, expand, own_values
from devenv.gcp.references import References
from devenv.schema import (
    BUILT_IN,
    CommandService,
    MailService,
    OidcService,
    PostgresService,
    StackConfig,
)
from devenv.secrets import CONSOLE_TOKEN, OIDC_CLIENT_SECRET, POSTGRES_PASSWORD, Secrets
from devenv.stack.problems import StackError
from devenv.tunnel import published
from devenv.tunnel.config import TunnelConfig

INVOKER = "roles/run.invoker"
LOCALHOST = "127.0.0.1"
_OF_TUNNEL = (
    *("provider", "project", "region", "queue", "bucket"),
    *("tasks_account", "scheduler_account", "storage_account"),
)

_Named: TypeAlias = dict[str, str | Callable[[], str]]


@dataclass(frozen=True, slots=True)
class StackFolder:
    """`root` is the folder of devenv.toml; `state` holds everything that `make reset` deletes."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / ".devenv"

    def make_state(self) -> None:
        """Make the folder of the stack's data: ignored by Git, and read by its owner only."""
        self.state.mkdir(exist_ok=True)
        self.state.chmod(0o700)  # keys, mails, passwords: for nobody else on this machine
        (self.state / ".gitignore").write_text("*\n")

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
    def cloud(self) -> Path:
        """The data of the emulated cloud."""
        return self.state / "gcp"

    @property
    def bridge_file(self) -> Path:
        return self.state / "bridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """A stack. `ports` are those that it has taken; `debug` those of processes under a debugger.

    `outside` are ports by which this machine reaches services that listen elsewhere, in containers.
    """

    folder: StackFolder
    config: StackConfig
    secrets: Secrets
    name: str = ""
    jobs: str = "process"
    ports: Mapping[str, int] = field(default_factory=dict)
    outside: Mapping[str, int] = field(default_factory=dict)
    debug: Mapping[str, int] = field(default_factory=dict)
    tunnel: TunnelConfig | None = None
    facts_file: str = ""

    @property
    def mode(self) -> str:
        """The profile that was chosen by name."""
        return self.config.layers[0] if self.config.layers else ""

    @property
    def has_cloud(self) -> bool:
        """Whether the stack has the emulated cloud."""
        return "gcp" in self.config.services

    @property
    def has_tunnel(self) -> bool:
        """Whether the cloud is Google's own and calls back through a tunnel."""
        return "tunnel" in self.config.services

    @property
    def owner(self) -> str:
        """The label of this folder's containers on the engine."""
        digest = hashlib.sha256(str(self.folder.state).encode()).hexdigest()
        return f"local-{digest[:12]}"

    def command(self, name: str) -> CommandService:
        """Return a service that is not built in. Raises StackError."""
        commands = self.config.commands()
        if name not in commands:
            raise StackError(
                f"{name} is not a service of this stack; there are {', '.join(commands)}."
            )
        return commands[name]

    def host(self, name: str) -> str:
        """Return the address that a service listens on."""
        return self.references(name).expand(self.command(name).host)

    def local_url(self, name: str) -> str:
        """Return the URL of a service on this machine."""
        host = self.host(name)
        shown = "localhost" if host in (LOCALHOST, "0.0.0.0") else host  # noqa: S104 - compared
        return f"http://{shown}:{self.outside.get(name, self.ports[name])}"

    def url(self, name: str) -> str:
        """Return the URL by which services and the cloud call a service."""
        run = self.run_service(name)
        return self.config.cloud.service_url(run) if run else self.local_url(name)

    def run_service(self, name: str) -> str:
        """Return the name of the Cloud Run service that leads to a service, "" if none does."""
        service = self.command(name)
        return (service.run_service or name) if service.url and self.has_cloud else ""

    def cloud_config(self) -> CloudConfig:
        """Return the emulated project without references, and with the stack's Cloud Run services.

        Raises ConfigError for an unknown reference.
        """
        own = tuple(
            ServiceConfig(
                name=run,
                port=self.ports[name],
                account=service.account,
                public=service.url == "public",
                host=self.host(name),
            )
            for name, service in self.config.commands().items()
            if (run := self.run_service(name))
        )
        cloud = expand(self.config.cloud, self.references())
        return replace(cloud, services=(*cloud.services, *own))

    @property
    def postgres_url(self) -> str:
        service = self.config.services["postgres"]
        assert isinstance(service, PostgresService)
        if service.external:
            return References(self._secrets()).expand(service.external)
        login = f"{service.database}:{self.secrets[POSTGRES_PASSWORD]}"
        return f"postgres://{login}@{LOCALHOST}:{self.ports['postgres']}/{service.database}"

    @property
    def smtp_url(self) -> str:
        service = self.config.services["mail"]
        assert isinstance(service, MailService)
        return service.external or f"smtp://{LOCALHOST}:{self.ports['smtp']}"

    @property
    def mail_url(self) -> str:
        """The page of received mails."""
        service = self.config.services["mail"]
        assert isinstance(service, MailService)
        if service.external:
            port = self.outside.get("mail")
            return service.external_page or (f"http://localhost:{port}" if port else "")
        return f"http://localhost:{self.ports['mail']}"

    @property
    def console_url(self) -> str:
        """The link to the console, with the token that lets its holder in."""
        return f"{self.console_origin}/?token={self.secrets[CONSOLE_TOKEN]}"

    @property
    def console_origin(self) -> str:
        return f"http://localhost:{self.outside.get('console', self.ports['console'])}"

    @property
    def oidc_url(self) -> str:
        """The issuer of the OpenID Connect provider."""
        return f"http://localhost:{self.ports['oidc']}"

    @property
    def oidc_uris(self) -> tuple[str, ...]:
        """The addresses, with references, that get answers of the OpenID Connect provider."""
        service = self.config.services.get("oidc")
        return service.redirect_uris if isinstance(service, OidcService) else ()

    def tunnel_url(self) -> str:
        """Return the public URL of this machine. Raises StackError while there is none."""
        found = published.read(published.file_in(self.folder.state))
        if found is None:
            raise StackError("The tunnel is not open.", hint="make logs S=tunnel")
        return found.url

    def tunnel_target(self) -> str:
        """Return the service that the tunnel leads to. Raises StackError."""
        if self.config.tunnel:
            return self.config.tunnel.target
        raise StackError("This stack has no tunnel.", hint="make up MODE=tunnel")

    def bridge_address(self) -> str:
        """Return the address at which containers of jobs reach this machine, if they may."""
        if not self.config.callback_network or not self.folder.bridge_file.exists():
            return LOCALHOST
        return self.folder.bridge_file.read_text().strip()

    def identity(self, account: str) -> dict[str, str]:
        """Return the variables that lead Google's clients to the emulated cloud as `account`.

        The emulated cloud writes them when it starts; they stay the same over its restarts.
        Raises StackError if it has no such account.
        """
        endpoints = json.loads((self.folder.cloud / "endpoints.json").read_text())["environ"]
        if account not in endpoints:
            raise StackError(
                f"The emulated cloud has no account {account}; it has {', '.join(endpoints)}.",
                hint="add it to gcp.accounts in devenv.toml",
            )
        environ: dict[str, str] = endpoints[account]
        return environ

    def references(self, own: str = "") -> References:
        """Return the values that texts may refer to; those of the service `own` by short names, too."""
        values: _Named = {
            "python": sys.executable,
            "root": str(self.folder.root),
            "state": str(self.folder.state),
            "machine.threads": str(2 * (os.cpu_count() or 2) + 1),
            "stack.name": self.name,
            "stack.profile": self.mode,
            "stack.jobs": self.jobs,
            "stack.owner": self.owner,
            "bridge.address": self.bridge_address,
            **self._secrets(),
            **self._built_in(),
        }
        for name, service in self.config.commands().items():
            if service.port:
                values |= self._of_service(name)
                if name == own:
                    values |= {"port": str(self.ports[name]), "host": lambda: self.host(own)}
        return References(values, tables=BUILT_IN)

    def _secrets(self) -> _Named:
        return {f"secrets.{name}": value for name, value in self.secrets.items()}

    def _of_service(self, name: str) -> _Named:
        port = self.ports[name]
        return {
            f"services.{name}.port": str(port),
            f"services.{name}.url": lambda: self.url(name),
            f"services.{name}.local_port": str(self.outside.get(name, port)),
            f"services.{name}.local_url": lambda: self.local_url(name),
            **({f"services.{name}.callers": self._callers(name)} if self.has_cloud else {}),
        }

    def _callers(self, name: str) -> str:
        """Return the accounts that may call a private service, with commas."""
        cloud, wanted = self.config.cloud, f"service/{self.run_service(name)}"
        bindings = [one for one in cloud.bindings if one.role == INVOKER]
        return ",".join(cloud.email(one.member) for one in bindings if one.resource == wanted)

    def _built_in(self) -> _Named:
        services, values = self.config.services, dict[str, str | Callable[[], str]]()
        if "postgres" in services:
            values |= _parts("postgres", self.postgres_url)
        if "mail" in services:
            values |= _parts("mail", self.smtp_url) | {"mail.page": self.mail_url}
        if "gcp" in services:
            values |= own_values(self.config.cloud)
            values["gcp.url"] = f"http://{LOCALHOST}:{self.ports.get('gcp', 0)}"
        if "console" in services:
            values["console.url"] = self.console_origin
        if "oidc" in services:
            service = services["oidc"]
            assert isinstance(service, OidcService)
            values |= {
                "oidc.url": self.oidc_url,
                "oidc.client_id": service.client_id,
                "oidc.client_secret": lambda: self.secrets[OIDC_CLIENT_SECRET],
            }
        if "tunnel" in services:
            values |= self._of_tunnel()
        return values

    def _of_tunnel(self) -> _Named:
        values: _Named = {
            "tunnel.url": self.tunnel_url,
            "tunnel.host": lambda: str(urlsplit(self.tunnel_url()).hostname),
        }
        values |= {f"tunnel.{name}": getattr(self.tunnel, name, "") for name in _OF_TUNNEL}
        return values | {"tunnel.callers": ",".join(self.tunnel.callers) if self.tunnel else ""}


def _parts(name: str, url: str) -> _Named:
    """Return a URL and its parts as values."""
    split = urlsplit(url)
    return {
        f"{name}.url": url,
        f"{name}.host": split.hostname or "",
        f"{name}.port": str(split.port or ""),
        f"{name}.user": split.username or "",
        f"{name}.password": split.password or "",
        f"{name}.database": split.path.strip("/"),
    }
