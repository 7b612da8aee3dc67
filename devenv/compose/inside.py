"""The stack as its own containers see it: each service has a host name and the usual port."""

import asyncio
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from socket import gaierror, gethostbyname
from typing import NoReturn

from devenv.config import External, load
from devenv.environment import wants_reload
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.services import application
from devenv.stack.runner import RunnerState, ServiceRunner
from devenv.stack.service import StackService
from devenv.stack.supervisor import Supervisor

# The secrets with which a person signs in. Keys of the servers stay in the volume.
SHOWN_SECRETS = ("demo_password", "demo_api_key", "postgres_password")
_STORAGE = "fake-gcs"
_PORTS = {"web": 8000, "worker": 8001}
_OWNER = 1000  # of this image
_POSTGRES = 999  # of the image postgres:17
# Images of others get accounts of their own: ours may read the secrets that lie beside their folders.
_FOLDERS = {"gcp": _OWNER, "mail": _OWNER, _STORAGE: 1002, "postgres": _POSTGRES}
_LOCK = "compose/local/requirements.txt"
_BUILT_FROM = Path(sys.prefix, "requirements.sha256")


def require_fresh_image(root: Path) -> None:
    """Raise SystemExit if this image holds other packages than the mounted lock wants."""
    wanted = hashlib.sha256((root / _LOCK).read_bytes()).hexdigest()
    if _BUILT_FROM.exists() and _BUILT_FROM.read_text().split()[0] != wanted:
        raise SystemExit(
            f"This image was built before {_LOCK} changed. "
            "Next: docker compose -f docker-compose.local.yml build"
        )


def prepare(root: Path) -> None:
    """Make what the stack keeps to itself: PostgreSQL's part for its account, the rest for ours."""
    config = load(root)
    config.state.chmod(0o711)
    for name, owner in _FOLDERS.items():
        folder = config.state / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        os.chown(folder, owner, owner)
    secrets = Secrets.load(config.secrets_file)
    password = config.state / "postgres" / "password"
    password.touch(mode=0o400)
    password.write_text(secrets.postgres_password)
    os.chown(config.secrets_file, _OWNER, _OWNER)
    os.chown(password, _POSTGRES, _POSTGRES)


def storage() -> str:
    """Return where fake-gcs-server is, if it belongs to this stack (the profile fake-gcs)."""
    try:
        gethostbyname(_STORAGE)
    except gaierror:
        return ""
    return f"http://{_STORAGE}:4443"


def product(root: Path, *, mode: str, site_port: int) -> Product:
    """Return the product among its containers; people reach it at `site_port` of their machine."""
    config = load(root)
    if site_port == config.ports.worker:
        raise SystemExit(f"WEB_PORT is {site_port}, the worker's in devenv.toml. Choose another.")
    secrets = Secrets.load(config.secrets_file)
    external = External(
        postgres=f"postgres://validibot:{secrets.postgres_password}@postgres:5432/validibot",
        smtp="smtp://mail:1025",
    )
    moved = config.on(replace(config.ports, web=site_port))
    return Product(
        config=replace(moved, external=external), secrets=secrets, mode=mode, jobs="docker"
    )


def set_up(product: Product) -> int:
    """Run the two steps before the product serves; not again while all that decides is the same."""
    stamp = product.config.state / "setup.done"
    key = f"{application.setup_key(product)} {storage()}"
    if stamp.exists() and stamp.read_text() == key:
        return 0
    for command in ("migrate", "setup_all"):
        done = subprocess.run(
            [sys.executable, "manage.py", command], env=product.environ("web"), check=False
        )
        if done.returncode:
            return done.returncode
    stamp.write_text(key)
    return 0


def become(product: Product, role: str, program: list[str]) -> NoReturn:
    """Execute a program in the environment of `role`."""
    os.execvpe(program[0], program, product.environ(role))


class _Log:
    """Observer that prints what the service writes, and reloads."""

    def changed(self, runner: ServiceRunner) -> None:
        if runner.state in (RunnerState.RESTARTING, RunnerState.FAILED):
            self.line("", f"{runner.service.name} {runner.note}")

    def reloaded(self, runner: ServiceRunner, seconds: float) -> None:
        failure = runner.reload_failure
        done = f"did not reload: the new code {failure}; the old code still serves"
        self.line(
            "", f"{runner.service.name} " + (done if failure else f"reloaded in {seconds:.1f} s")
        )

    def line(self, service: str, text: str) -> None:
        print(text, flush=True)  # noqa: T201 - the container's log


def serve(product: Product, role: str, *, mail_port: int) -> int:
    """Serve as a role until a signal, reload after edits unless WATCH=0; return the exit code.

    Once web is healthy, it prints how to sign in.
    """
    make = {
        "web": lambda: application.web(product, host=application.ANY, port=_PORTS["web"]),
        "worker": lambda: application.worker(
            product, host=application.ANY, port=_PORTS["worker"], threads=5
        ),
    }
    service = replace(make[role](), needs=())
    ready = welcome(product, mail_port) if role == "web" else ""
    return asyncio.run(_supervise(service, product.config.root, ready))


async def _supervise(service: StackService, root: Path, ready: str) -> int:
    async def up() -> None:
        await supervisor.up()
        print(ready, flush=True)  # noqa: T201 - the container's log

    supervisor = Supervisor([service], folder=root, observer=_Log())
    enough = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    tasks = [asyncio.create_task(enough.wait()), asyncio.create_task(up())]
    if wants_reload():
        tasks.append(asyncio.create_task(supervisor.reload_on_edits()))
    failed = asyncio.create_task(supervisor.runners[service.name].failed.wait())
    await asyncio.wait({tasks[0], failed}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await supervisor.down()
    return 0 if enough.is_set() else 1


def welcome(product: Product, mail_port: int) -> str:
    """Return the lines by which a person gets in; no secret of the servers is among them."""
    secrets, site = product.secrets, product.site_url
    variables = {"VALIDIBOT_API_URL": site, "VALIDIBOT_TOKEN": secrets.demo_api_key}
    if org := json.loads(_seed(product.config.root)).get("org"):
        variables["VALIDIBOT_ORG"] = org
    lines = [
        *("", f"Web       {site}", f"E-mail    {Product.demo_email}"),
        *(f"Password  {secrets.demo_password}", f"Mail      http://localhost:{mail_port}", ""),
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        "pip install validibot-cli==0.3.2 && validibot workflows list",
    ]
    return "\n".join(lines)


def facts(root: Path) -> str:
    """Return, as JSON, how to sign in and what the setup made; no secret of the servers."""
    secrets = asdict(Secrets.load(load(root).secrets_file))
    shown = {name: secrets[name] for name in SHOWN_SECRETS}
    return json.dumps({"email": Product.demo_email, **shown, "seed": json.loads(_seed(root))})


def _seed(root: Path) -> str:
    config = load(root)
    seed = config.seed_file.read_text() if config.seed_file.exists() else "{}"
    # Samples are below the folder of this machine, not below that of the container.
    return seed.replace(f"{root}/", "")
