"""The stack as its own containers see it: each service has a host name and the usual port."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from socket import gaierror, gethostbyname, gethostname
from typing import NoReturn

from devenv.config import Config, load
from devenv.environment import wants_reload
from devenv.local_stack import LocalStack
from devenv.secrets import CONSOLE_TOKEN, POSTGRES_PASSWORD
from devenv.services import declared, facts
from devenv.services.builtin import write_cloud_file
from devenv.stack.runner import ServiceRunner
from devenv.stack.runner_state import RunnerState
from devenv.stack.service import StackService, levels
from devenv.stack.statefile import StackState
from devenv.stack.supervisor import Supervisor

_JOBS = _RUNTIME = "docker"
ROOT_MARK = "{root}"
_STORAGE = "fake-gcs"
_OWNER = 1000  # of this image
_SOCKET = Path("/var/run/docker.sock")
_CLOUD_PORT, _MAIL_PORT = 4588, 8025
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
    secrets = config.load_secrets()
    password = config.state / "postgres" / "password"
    password.touch(mode=0o400)
    password.write_text(secrets[POSTGRES_PASSWORD])
    os.chown(config.secrets_file, _OWNER, _OWNER)
    os.chown(password, _POSTGRES, _POSTGRES)


def storage() -> str:
    """Return where fake-gcs-server is, if it belongs to this stack (the profile fake-gcs)."""
    try:
        gethostbyname(_STORAGE)
    except gaierror:
        return ""
    return f"http://{_STORAGE}:4443"


def stack(
    root: Path, *, mode: str = "", outside: Mapping[str, int] | None = None
) -> tuple[Config, LocalStack]:
    """Return the stack among its containers; people reach it at ports `outside` of their machine."""
    config = load(root)
    layers = config.layers(mode or config.about.profile, jobs=_JOBS, runtime=_RUNTIME)
    ours = config.stack(layers, secrets=config.load_secrets(), jobs=_JOBS)
    return config, replace(ours, outside=outside or {})


def set_up(stack: LocalStack) -> int:
    """Run the steps before the others serve; not again while all that decides is the same."""
    services = {one.name: one for one in (declared.build(stack, name) for name in _steps(stack))}
    for level in levels({name: one.needs for name, one in services.items()}):
        for name in (one for one in level if one in services):
            stamp = stack.folder.state / f"{name}.done"
            key = f"{declared.step_key(stack, name)} {storage()}"
            if stamp.exists() and stamp.read_text() == key:
                continue
            command, environ = services[name].command, declared.environ(stack, name)
            done = subprocess.run(command, env=environ, check=False)
            if done.returncode:
                return done.returncode
            stamp.write_text(key)
    return 0


def _steps(stack: LocalStack) -> list[str]:
    return [name for name, service in stack.config.commands().items() if service.once]


def become(stack: LocalStack, service: str, program: list[str]) -> NoReturn:
    """Execute a program in the environment of a service."""
    os.execvpe(program[0], program, declared.environ(stack, service))


class _Log:
    """Observer that prints what the service writes, and reloads."""

    def changed(self, runner: ServiceRunner) -> None:
        if runner.state in (RunnerState.RESTARTING, RunnerState.FAILED):
            self.line("", f"{runner.service.name} {runner.note}")

    def reloaded(self, runner: ServiceRunner, seconds: float) -> None:
        failure = runner.reload_failure
        done = f"was not reloaded: {failure}; the old code serves"
        self.line(
            "", f"{runner.service.name} " + (done if failure else f"reloaded in {seconds:.1f} s")
        )

    def line(self, service: str, text: str) -> None:
        print(text, flush=True)  # noqa: T201 - the container's log


def serve(config: Config, stack: LocalStack, name: str) -> int:
    """Run a service until a signal, reload it after edits unless WATCH=0; return the exit code.

    Once the service of `[run]` is healthy, it prints how to sign in.
    """
    service = replace(declared.build(stack, name), needs=())
    ready = "\n".join(welcome(config, stack)) if name == config.run.service else ""
    return asyncio.run(_supervise(service, stack.folder.root, ready))


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


def welcome(config: Config, stack: LocalStack) -> list[str]:
    """Return the lines by which a person gets in; no secret of the servers is among them."""
    found = facts.gather(config, stack, StackState())
    services = {name: stack.config.services[name] for name in stack.outside}
    places = [(one.label, found["urls"][name]) for name, one in services.items()]
    rows = [*places[:1], *facts.rows(config, stack, found), *places[1:]]
    # Paths of the container mean nothing outside of it.
    root = str(stack.folder.root)
    pasted = [line for line in facts.paste(config, stack, found) if root not in line]
    return ["", *(f"{label:<9} {text}" for label, text in rows), "", *pasted]


def told(root: Path) -> str:
    """Return, as JSON, what only the volume knows: the secrets of people, and written facts."""
    config, ours = stack(root)
    names = facts.shown_secrets(config) | {CONSOLE_TOKEN, POSTGRES_PASSWORD}
    written = json.dumps(facts.read_file(config, ours))
    # Files are below the folder of this machine, not below that of the container.
    return json.dumps(
        {
            "secrets": {name: ours.secrets[name] for name in sorted(names)},
            "written": json.loads(written.replace(f"{root}/", f"{ROOT_MARK}/")),
        }
    )


def become_cloud(root: Path, *, project: str) -> NoReturn:
    """Execute `python -m devenv.gcp`; it shares a network with the container of each job."""
    _step_down()
    elsewhere, (_, ours) = storage(), stack(root)
    command = (
        *(sys.executable, "-m", "devenv.gcp"),
        *("--config", str(write_cloud_file(ours)), "--folder", str(root)),
        *("--data", str(ours.folder.cloud)),
        *("--plain-port", str(_CLOUD_PORT), "--bind", "0.0.0.0"),  # noqa: S104 - of a container
        *("--jobs", "docker", "--label", project, "--container-host", "gcp"),
        *("--container", gethostname()),  # the engine names containers by their id
        *(f"--service-port={each}" for each in _places(ours)),
        *(("--storage", elsewhere) if elsewhere else ()),
    )
    os.execv(command[0], command)


def become_console(root: Path, *, mail_port: int) -> NoReturn:
    """Execute the console of the emulated cloud; processes of other containers it cannot see."""
    config, ours = stack(root, outside={"mail": mail_port})
    command = (
        *(sys.executable, "-m", "devenv.console", "--no-stack"),
        *("--state", str(ours.folder.state), "--title", config.about.name),
        *("--host", "0.0.0.0", "--port", str(ours.ports["console"])),  # noqa: S104 - of a container
        *("--cloud", f"http://gcp:{_CLOUD_PORT}"),
        *("--mail", f"http://mail:{_MAIL_PORT}", "--mail-page", ours.mail_url),
    )
    os.execv(command[0], command)


def _places(stack: LocalStack) -> list[str]:
    """Return the addresses of Cloud Run's services: containers with the names of our services."""
    return [
        f"{run}={name}:{stack.ports[name]}"
        for name in stack.config.commands()
        if (run := stack.run_service(name))
    ]


def _step_down() -> None:
    """Drop root, but keep the group that owns the engine's socket."""
    if os.geteuid() != 0:
        return
    os.setgroups([_SOCKET.stat().st_gid])
    os.setgid(_OWNER)
    os.setuid(_OWNER)
