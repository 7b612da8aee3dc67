"""Commands on a stack that runs in containers, started by `make up RUNTIME=docker`."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rich.console import Group

from devenv.cli import summary
from devenv.cli.context import Context
from devenv.cli.output import show_log_line, table
from devenv.compose.inside import ROOT_MARK
from devenv.compose.project import PUBLISHED, ComposeContainer, ComposeProject
from devenv.local_stack import LocalStack
from devenv.secrets import BUILT_IN_SECRETS, Secrets
from devenv.services import facts as stack_facts
from devenv.stack.loglines import LogFilter
from devenv.stack.problems import StackError

RUNTIME = "docker"
# Services that cannot be reached from outside of the containers.
_INSIDE = ("worker", "smtp", "queue")
# Built-in services that not every stack in containers has.
_OPTIONAL = ("console", "oidc")


def find(context: Context) -> ComposeProject | None:
    """Return the stack that this folder has in containers, if any of them runs.

    Raises StackError where another folder has the project by now.
    """
    state, names = context.state(), context.projects()
    if state.runtime != RUNTIME or not names or shutil.which("docker") is None:
        return None
    ports = {name: port for name, port in state.ports.items() if name in PUBLISHED}
    project = ComposeProject(context.config.root, names[-1], ports)
    if not any(one.runs for one in project.containers()):
        return None
    project.require_own()
    return project


def tell(context: Context, project: ComposeProject) -> None:
    """Print where everything is, as data or as the table."""
    stack, facts = look(context, project)
    context.output.result(facts, summary.table_of(context.config, stack, facts))


def look(context: Context, project: ComposeProject) -> tuple[LocalStack, dict[str, Any]]:
    """Return the stack as this machine sees it, and the data of `status --json`.

    A container is asked for what only the volume knows.
    """
    state, config = context.state(), context.config
    asked = project.inside(entrance(state.mode), "python", "-m", "devenv.compose", "facts")
    told: dict[str, Any] = json.loads(asked.replace(ROOT_MARK, str(config.root)))
    # Secrets of the servers stay in the volume.
    names = (*BUILT_IN_SECRETS, *config.secrets)
    secrets = Secrets(dict.fromkeys(names, "") | told["secrets"])
    layers = config.layers(state.mode)
    ports = {name: state.ports[name] for name in PUBLISHED if name in state.ports}
    stack = config.stack(layers, secrets=secrets, jobs=state.jobs, ports=ports)
    facts = stack_facts.gather(config, stack, state, written=told["written"])
    containers = _services(project)
    hidden = (*_INSIDE, *(name for name in _OPTIONAL if name not in containers))
    places = {name: url for name, url in facts["urls"].items() if name not in hidden}
    return stack, facts | {"runtime": RUNTIME, "urls": places, "services": containers}


def entrance(mode: str) -> str:
    """Return the service that serves the pages."""
    return "mock" if mode == "mock" else "web"


def targets(mode: str) -> tuple[str, ...]:
    """Return the services that people use; Compose starts what these need."""
    return ("mock",) if mode == "mock" else ("web", "console")


def state_of(containers: Iterable[ComposeContainer]) -> dict[str, str]:
    return {one.service: one.state for one in containers}


def down(context: Context, project: ComposeProject) -> int:
    stop(project)
    context.output.stopped(command="make up RUNTIME=docker")
    return 0


def stop(project: ComposeProject, *options: str) -> None:
    """Remove containers and networks, those of jobs too; the volume stays."""
    profiles = ("--profile", "*")
    project.run(*profiles, "down", "--remove-orphans", "--timeout", "10", *options)


def status(context: Context, project: ComposeProject) -> int:
    stack, facts = look(context, project)
    rows = [(name, one["state"]) for name, one in facts["services"].items()]
    context.output.result(facts, Group(table(rows), summary.table_of(context.config, stack, facts)))
    return 0


def control(project: ComposeProject, command: str, service: str) -> None:
    """Start, stop or restart the container of a service. Raises StackError."""
    if service not in (known := sorted(state_of(project.containers()))):
        there = f"There is no service {service}; there are {', '.join(known)}."
        raise StackError(there, hint="make status")
    project.run(command, service)


def logs(
    context: Context,
    project: ComposeProject,
    *,
    services: list[str],
    options: Sequence[str],
    filters: Callable[[Sequence[str]], Mapping[str, LogFilter]],
) -> int:
    """Print the lines of containers that pass their filters; `options` are those of Docker."""
    known = sorted(state_of(project.containers()))
    if unknown := sorted(set(services) - set(known)):
        context.output.fail(f"There is no log of {unknown[0]}; there is {', '.join(known)}.")
        return 2
    reader = project.start("logs", "--no-color", *options, *services, stdout=subprocess.PIPE)
    passes = filters(known)
    try:
        for name, line in lines_of(reader):
            if passes[name].passes(line):
                show_log_line(context.output, name, line, alone=len(services) == 1)
    finally:
        reader.terminate()
    return reader.wait()


def lines_of(reader: subprocess.Popen[str]) -> Iterable[tuple[str, str]]:
    """Yield service and text of what `docker compose logs` prints."""
    assert reader.stdout
    for line in reader.stdout:
        # Some versions clear the line first, terminal or not.
        label, bar, text = line.rstrip("\n").removeprefix("\x1b[2K").partition(" | ")
        if bar:
            yield label.strip().rpartition("-")[0], text


def run(context: Context, project: ComposeProject, command: list[str]) -> int:
    """Become `docker compose exec` in the container of the web service."""
    state = context.state()
    terminal = () if sys.stdin.isatty() and sys.stdout.isatty() else ("--no-TTY",)
    inside = (
        *("python", "-m", "devenv.compose", "run", "--mode", state.mode),
        *(f"--site-port={state.ports['web']}", "web", "--", *command),
    )
    words = project.command("exec", *terminal, entrance(state.mode), *inside)
    os.execvpe(words[0], words, project.environ())


def psql(context: Context, project: ComposeProject, arguments: list[str]) -> int:
    """Become psql in the container of the database."""
    stack, _ = look(context, project)
    database = urlsplit(stack.postgres_url)
    terminal = () if sys.stdin.isatty() and sys.stdout.isatty() else ("--no-TTY",)
    login = ("--username", str(database.username), database.path.strip("/"))
    words = project.command("exec", *terminal, "postgres", "psql", *login, *arguments)
    os.execvpe(words[0], words, project.environ())


def reset(context: Context) -> None:
    """Remove containers, networks and volumes of every project that this folder has used.

    Raises StackError.
    """
    for name in context.projects():
        project = ComposeProject(context.config.root, name)
        project.check()
        if other := project.other_folder():
            context.output.warn(f"The compose project {name} belongs to {other}; it stays.")
        else:
            stop(project, "--volumes")


def _services(project: ComposeProject) -> dict[str, dict[str, Any]]:
    return {
        one.service: {"state": one.state, "pid": None, "restarts": 0, "note": ""}
        for one in project.containers()
    }
