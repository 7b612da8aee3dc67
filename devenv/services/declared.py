"""Services that devenv.toml declares, as data for the supervisor, and the environment of each."""

import hashlib
import re
import sys

from devenv.environment import developer, machine
from devenv.local_stack import LOCALHOST, LocalStack
from devenv.schema import CommandService, Ready
from devenv.services import debugger
from devenv.services.builtin import postgres_cluster_id
from devenv.stack.edits import matching_files
from devenv.stack.service import (
    CommandProbe,
    HttpProbe,
    LogProbe,
    Once,
    Probe,
    Reload,
    StackService,
    TcpProbe,
)

_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container; compared, not bound


def build(stack: LocalStack, name: str) -> StackService:
    """Return one service of devenv.toml."""
    service = stack.command(name)
    once = Once(stack.folder.state / f"{name}.done", lambda: step_key(stack, name))
    return StackService(
        name=name,
        command=_command(stack, name, service),
        folder=service.folder,
        # Only the service itself listens: other programs with its environment cannot.
        environ=lambda: environ(stack, name) | debugger.variables(stack, name),
        needs=tuple(need for need in service.needs if stack.config.is_started(need)),
        probe=_probe(stack, name, service.ready) if service.ready else None,
        ready_within=service.ready.within if service.ready else 60.0,
        once=once if service.once else None,
        reload=_reload(stack, name, service) if service.watch else None,
    )


def environ(stack: LocalStack, name: str) -> dict[str, str]:
    """Return the whole environment of a service."""
    hidden = stack.config.hide
    own = developer(hidden) if stack.config.credentials == "developer" else machine(hidden)
    return own | variables(stack, name)


def variables(stack: LocalStack, name: str) -> dict[str, str]:
    """Return the variables that a service has beside those of the user. Raises StackError."""
    service = stack.command(name)
    account = service.account if stack.has_cloud else ""
    return _own_variables(stack, name) | (stack.identity(account) if account else {})


def step_key(stack: LocalStack, name: str) -> str:
    """Return a digest of everything that a step depends on: files, database, command, variables."""
    service, digest = stack.command(name), hashlib.sha256()
    for path in matching_files(stack.folder.root, service.inputs):
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    cluster = postgres_cluster_id(stack)
    settings = (cluster, stack.mode, service.command, sorted(_own_variables(stack, name).items()))
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def _own_variables(stack: LocalStack, name: str) -> dict[str, str]:
    service, references = stack.command(name), stack.references(name)
    declared = dict[str, str]()
    for group in (*(stack.config.env[one] for one in service.env_from), service.env):
        declared |= group
    port = {"PORT": str(stack.ports[name])} if service.port else {}
    expanded = {variable: references.expand(text) for variable, text in declared.items()}
    return {"PYTHONUNBUFFERED": "1", **port, **expanded}


def _command(stack: LocalStack, name: str, service: CommandService) -> tuple[str, ...]:
    references = stack.references(name)
    words = tuple(references.expand(word) for word in service.command)
    if service.image:
        return _container(stack, name, service, words)
    if words[0] == sys.executable:
        return (words[0], *debugger.launcher(stack, name), *words[1:])
    return words


def _container(
    stack: LocalStack, name: str, service: CommandService, words: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the command that runs a container in the foreground, in place of one that was left."""
    container = f"{stack.owner}-{name}"
    published = (
        ("--publish", f"{LOCALHOST}:{stack.ports[name]}:{service.image_port}")
        if service.port
        else ()
    )
    given = [f"--env={variable}" for variable in sorted(_own_variables(stack, name))]
    script = 'docker rm --force "$0" >/dev/null 2>&1; exec docker run --name "$0" "$@"'
    return (
        *("sh", "-c", script, container, "--rm", "--init", *published, *given),
        *(service.image, *words),
    )


def _probe(stack: LocalStack, name: str, ready: Ready) -> Probe:
    host = stack.host(name)
    address = LOCALHOST if host == _EVERYWHERE else host
    if ready.http:
        return HttpProbe(stack.ports[name], ready.http, address=address)
    if ready.tcp:
        return TcpProbe(stack.ports[name], address=address)
    if ready.log:
        return LogProbe(re.compile(ready.log))
    references = stack.references(name)
    return CommandProbe(tuple(references.expand(word) for word in ready.command))


def _reload(stack: LocalStack, name: str, service: CommandService) -> Reload:
    """Hand the port over, except where a debugger's port can have one listener only."""
    hands_over = service.reload == "handover" and name not in stack.debug
    return Reload(watch=service.watch, port=stack.ports[name] if hands_over else 0)
