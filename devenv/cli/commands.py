"""Commands and options of the command line: `devenv COMMAND`, `python -m devenv COMMAND`.

A command is implemented by a module of its own, which is imported when the command runs: `--help`
and completion need no database, no Docker and no Google libraries.

Exit codes: 0 success, 1 failure, 2 wrong usage or configuration, 130 interrupted.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from typer.exceptions import TyperException

from devenv.cli import cloud_commands, names
from devenv.cli.module import Json, make_output, project_folder, run_module
from devenv.stack.logfile import LogLevel


class StackRuntime(StrEnum):
    """Processes of this machine, or containers."""

    PROCESS = "process"
    DOCKER = "docker"


class CompletionShell(StrEnum):
    """Shells that can complete our commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class EnvFormat(StrEnum):
    """Form in which variables are printed."""

    SHELL = "shell"
    DOTENV = "dotenv"
    JSON = "json"


cli = typer.Typer(
    name="devenv",
    help="The developer environment: the whole stack on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
snapshots = typer.Typer(help="Save and load the data of the whole stack.", no_args_is_help=True)
cli.add_typer(snapshots, name="snapshot")
cli.add_typer(cloud_commands.cli)


def main(argv: list[str] | None = None) -> int:
    """Run one command, that of this process by default; return its exit code."""
    try:
        code = cli(
            sys.argv[1:] if argv is None else argv, prog_name="devenv", standalone_mode=False
        )
    except TyperException as error:
        if message := error.format_message().strip():  # else the help has been printed
            make_output().fail(message, hint="devenv --help")
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0


def _print_version(value: bool) -> None:
    if value:
        from devenv.cli.version import version  # noqa: PLC0415 - as above

        typer.echo(version())
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Start and look at the whole stack on this machine, with an emulated Google Cloud."""


SnapshotName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=names.snapshots)]
OfService = Annotated[
    str,
    typer.Option(
        "--service",
        "--role",
        help="By default that of `run` in devenv.toml.",
        autocompletion=names.services,
    ),
]
AsAccount = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="ACCOUNT",
        help="Identity of this account of the emulated cloud.",
        autocompletion=names.accounts,
    ),
]
Service = Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=names.services)]


@cli.command()
def init(json: Json = False) -> int:
    """Write a first devenv.toml for this folder, guessed from its files."""
    from devenv.cli import init as module  # noqa: PLC0415 - as above

    return module.run(Path.cwd(), make_output(json=json))


@cli.command()
def up(
    mode: Annotated[
        str,
        typer.Option(
            "--mode", "--profile", help="A profile of devenv.toml.", autocompletion=names.profiles
        ),
    ] = "",
    runtime: Annotated[
        StackRuntime, typer.Option(help="Processes, or everything in containers.")
    ] = StackRuntime.PROCESS,
    jobs: Annotated[
        StackRuntime,
        typer.Option(envvar="JOBS", help="What jobs of the emulated cloud run in."),
    ] = StackRuntime.PROCESS,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready.")] = False,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
    json: Json = False,
) -> int:
    """Start everything, print where it is, stream the logs until Ctrl-C."""
    return run_module(
        "up",
        json=json,
        mode=mode,
        runtime=runtime,
        jobs=jobs,
        detach=detach,
        background=background,
    )


@cli.command()
def down(json: Json = False) -> int:
    """Stop the stack; the data stays."""
    return run_module("lifecycle", function="down", json=json, lenient=True)


@cli.command()
def status(json: Json = False) -> int:
    """Print what runs, where it is, and how to sign in."""
    return run_module("lifecycle", function="status", json=json)


@cli.command()
def start(service: Service, json: Json = False) -> int:
    """Start a service that was stopped or has failed."""
    return run_module("lifecycle", function="control", json=json, command="start", service=service)


@cli.command()
def stop(service: Service, json: Json = False) -> int:
    """Stop one service of the running stack; `down` stops the stack."""
    return run_module("lifecycle", function="control", json=json, command="stop", service=service)


@cli.command()
def restart(service: Service, json: Json = False) -> int:
    """Stop and start a service, or run a step such as `migrate` again."""
    return run_module(
        "lifecycle", function="control", json=json, command="restart", service=service
    )


@cli.command()
def logs(  # noqa: PLR0913, PLR0917 - each is an option of the command
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVICE]...", autocompletion=names.services, show_default="all"),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "-n", "--lines", help="How many old lines.", show_default="40; all of --since"
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(help="Lines from then on.", metavar="10m|2h|14:05|ISO TIME")
    ] = "",
    grep: Annotated[
        str, typer.Option(help="Lines with this regular expression.", metavar="PATTERN")
    ] = "",
    level: Annotated[
        LogLevel, typer.Option(help="Lines of this severity or a higher one.")
    ] = LogLevel.DEBUG,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Do not wait for more.")] = False,
    json: Json = False,
) -> int:
    """Print what services wrote, and what they write."""
    return run_module(
        "logs",
        json=json,
        lenient=True,
        services=services or [],
        lines=lines,
        follow=not no_follow,
        since=since,
        grep=grep,
        level=level,
    )


@cli.command()
def env(
    service: OfService = "",
    style: Annotated[EnvFormat, typer.Option("--format", help="Form.")] = EnvFormat.SHELL,
    json: Json = False,
) -> int:
    """Print the variables of a service, to paste into a shell, an editor or a `.env` file."""
    as_json = json or style is EnvFormat.JSON
    return run_module("run", function="env", json=as_json, service=service, style=style)


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context, service: OfService = "", account: AsAccount = "", json: Json = False
) -> int:
    """Run a command in the environment, and with the identity, of a service."""
    return run_module("run", json=json, command=context.args, service=service, account=account)


@cli.command()
def shell(service: OfService = "", account: AsAccount = "") -> int:
    """Start a shell in the environment, and with the identity, of a service."""
    return run_module("run", function="shell", json=False, service=service, account=account)


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> int:
    """Open the database with psql; further arguments are its own: `psql -c "SELECT 1"`."""
    return run_module("run", function="psql", json=False, arguments=context.args)


@cli.command(name="open")
def open_page(
    page: Annotated[
        str, typer.Argument(metavar="web|console|mail|SERVICE", autocompletion=names.services)
    ] = "web",
    json: Json = False,
) -> int:
    """Open the page of a service in the browser, and print its URL."""
    return run_module("run", function="open_page", json=json, page=page)


@cli.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    to: Annotated[
        str,
        typer.Option(
            metavar="SNAPSHOT", help="Begin with its data.", autocompletion=names.snapshots
        ),
    ] = "",
    json: Json = False,
) -> int:
    """Stop the stack and delete its data, whichever runtime has made them; snapshots stay."""
    return run_module("lifecycle", function="reset", json=json, yes=yes, to=to)


@snapshots.command()
def save(
    name: SnapshotName,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
    json: Json = False,
) -> int:
    """Save database, buckets, queues, mail and secrets. A stack that runs pauses meanwhile."""
    return run_module("snapshot", function="save", json=json, name=name, replace=replace)


@snapshots.command(name="list")
def list_snapshots(json: Json = False) -> int:
    """Print the snapshots of this folder."""
    return run_module("snapshot", function="show", json=json)


@snapshots.command()
def load(name: SnapshotName, json: Json = False) -> int:
    """Replace the data by a snapshot's; what is replaced becomes the snapshot `before-load`."""
    return run_module("snapshot", function="load", json=json, name=name)


@snapshots.command()
def delete(name: SnapshotName, json: Json = False) -> int:
    """Delete a snapshot."""
    return run_module("snapshot", function="delete", json=json, name=name)


@cli.command()
def trace(
    trace_id: Annotated[UUID, typer.Argument(help="The id of a trace.")], json: Json = False
) -> int:
    """Print the calls of a trace, in the order of their start."""
    return run_module("trace", json=json, trace_id=trace_id)


@cli.command()
def replay(
    what: Annotated[str, typer.Argument(metavar="FILE|KEY", help="A file, or its key.")],
    service: Annotated[
        str, typer.Option(help="By default the tunnel's target.", autocompletion=names.services)
    ] = "",
    account: AsAccount = "",
    json: Json = False,
) -> int:
    """Post a request again: one that the tunnel has saved, or one in a file."""
    return run_module("replay", json=json, what=what, service=service, account=account)


@cli.command()
def tunnel(
    check: Annotated[bool, typer.Option("--check", help="Check everything that it needs.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print each call to Google, do none.")
    ] = False,
    json: Json = False,
) -> int:
    """Print where Google's own cloud calls this machine."""
    if check and dry_run:
        raise typer.BadParameter("--check and --dry-run exclude each other.")
    return run_module("tunnel", json=json, check=check, dry_run=dry_run)


@cli.command()
def mcp(
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Offer tools that change the stack, too.")
    ] = False,
) -> int:
    """Serve the stack as tools of the Model Context Protocol, for an editor's assistant."""
    from devenv.cli import mcp_server as module  # noqa: PLC0415 - as above

    return module.run(make_output(), allow_changes=allow_changes)


@cli.command()
def doctor(json: Json = False) -> int:
    """Look for what may be in the way, and print what helps."""
    from devenv.cli import doctor as module  # noqa: PLC0415 - as above

    return module.run(project_folder(), make_output(json=json))


@cli.command()
def completion(shell: Annotated[CompletionShell, typer.Argument(help="The shell.")]) -> int:
    """Print what makes a shell complete commands, services and profiles: add it to its settings."""
    from typer.completion import shell_complete  # noqa: PLC0415 - as above

    command = typer.main.get_command(cli)
    return shell_complete(command, {}, "devenv", "_DEVENV_COMPLETE", f"source_{shell}")
