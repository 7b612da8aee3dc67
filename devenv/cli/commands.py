"""Commands and options of the command line: `devenv COMMAND`, `python -m devenv COMMAND`.

A command is implemented by a module of its own, which is imported when the command runs: `--help`
and completion need no database, no Docker and no Google libraries.

Exit codes: 0 success, 1 failure, 2 wrong usage or configuration, 130 interrupted.
"""

import sys
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from typer.exceptions import TyperException

from devenv.environment import wants_colour
from devenv.stack.logfile import LogLevel


class StackRuntime(StrEnum):
    """Processes of this machine, or containers."""

    PROCESS = "process"
    DOCKER = "docker"


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
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def main(argv: list[str] | None = None) -> int:
    """Run one command, that of this process by default; return its exit code."""
    try:
        code = cli(
            sys.argv[1:] if argv is None else argv, prog_name="devenv", standalone_mode=False
        )
    except TyperException as error:
        _output().fail(error.format_message(), hint="devenv --help")
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0


def _output(*, json: bool = False) -> Any:
    from devenv.cli.hints import has_make  # noqa: PLC0415 - as below
    from devenv.cli.output import CliOutput  # noqa: PLC0415 - rich, which --help does not need

    colour = wants_colour(terminal=sys.stderr.isatty() and sys.stdout.isatty())
    make = has_make(Path.cwd())
    return CliOutput(out=sys.stdout, err=sys.stderr, json=json, colour=colour, make=make)


def _run(module: str, *, json: bool, function: str = "run", **options: Any) -> int:
    """Run `function` of `devenv.cli.<module>`; report the errors that users can act on."""
    from devenv.cli.context import Context  # noqa: PLC0415 - as above
    from devenv.config import FILE, load  # noqa: PLC0415 - as above
    from devenv.gcp.tables import ConfigError  # noqa: PLC0415 - as above
    from devenv.stack.problems import StackError, UsageProblem  # noqa: PLC0415 - as above

    output = _output(json=json)
    try:
        context = Context(config=load(Path.cwd()), output=output)
        code: int = getattr(import_module(f"devenv.cli.{module}"), function)(context, **options)
    except ConfigError as error:
        output.fail(str(error), hint=f"edit {FILE}")
        return 2
    except StackError as error:
        output.fail(error.message, hint=error.hint)
        return 2 if isinstance(error, UsageProblem) else 1
    return code


def _service_names(incomplete: str) -> list[str]:
    """Return the services that have a log here, for completion."""
    names = sorted(path.stem for path in Path.cwd().glob(".devenv/logs/*.log"))
    return [name for name in names if name.startswith(incomplete)]


def _profile_names(incomplete: str) -> list[str]:
    """Return the profiles of devenv.toml that are chosen by name, for completion."""
    from devenv.config import load  # noqa: PLC0415 - as above
    from devenv.gcp.tables import ConfigError  # noqa: PLC0415 - as above

    try:
        names = load(Path.cwd()).modes
    except ConfigError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _snapshots(incomplete: str) -> list[str]:
    """Return the snapshots of this folder, for completion."""
    names = sorted(path.parent.name for path in Path.cwd().glob(".devenv/snapshots/*/*.json"))
    return [name for name in names if name.startswith(incomplete)]


SnapshotName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_snapshots)]
OfService = Annotated[
    str,
    typer.Option("--service", "--role", help="By default that of `run` in devenv.toml."),
]
AsAccount = Annotated[
    str,
    typer.Option("--as", metavar="ACCOUNT", help="Identity of this account of the emulated cloud."),
]
Service = Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=_service_names)]


@cli.command()
def init(json: Json = False) -> int:
    """Write a first devenv.toml for this folder, guessed from its files."""
    from devenv.cli import init as module  # noqa: PLC0415 - as above

    return module.run(Path.cwd(), _output(json=json))


@cli.command()
def up(
    mode: Annotated[
        str,
        typer.Option(
            "--mode", "--profile", help="A profile of devenv.toml.", autocompletion=_profile_names
        ),
    ] = "",
    runtime: Annotated[
        StackRuntime, typer.Option(help="Processes, or everything in containers.")
    ] = StackRuntime.PROCESS,
    jobs: Annotated[
        StackRuntime,
        typer.Option(envvar="JOBS", help="What validators run in."),
    ] = StackRuntime.PROCESS,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready.")] = False,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
    json: Json = False,
) -> int:
    """Start everything, print where it is, stream the logs until Ctrl-C."""
    return _run(
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
    return _run("stop", function="down", json=json)


@cli.command()
def status(json: Json = False) -> int:
    """Print what runs, where it is, and how to sign in."""
    return _run("status", json=json)


@cli.command()
def start(service: Service, json: Json = False) -> int:
    """Start a service that was stopped or has failed."""
    return _run("control", json=json, command="start", service=service)


@cli.command()
def stop(service: Service, json: Json = False) -> int:
    """Stop one service of the running stack; `down` stops the stack."""
    return _run("control", json=json, command="stop", service=service)


@cli.command()
def restart(service: Service, json: Json = False) -> int:
    """Stop and start a service, or run a step such as `migrate` again."""
    return _run("control", json=json, command="restart", service=service)


@cli.command()
def logs(  # noqa: PLR0913, PLR0917 - each is an option of the command
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVICE]...", autocompletion=_service_names, show_default="all"),
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
    return _run(
        "logs",
        json=json,
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
    return _run("run", function="env", json=as_json, service=service, style=style)


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context, service: OfService = "", account: AsAccount = "", json: Json = False
) -> int:
    """Run a command in the environment, and with the identity, of a service."""
    return _run("run", json=json, command=context.args, service=service, account=account)


@cli.command()
def shell(service: OfService = "", account: AsAccount = "") -> int:
    """Start a shell in the environment, and with the identity, of a service."""
    return _run("run", function="shell", json=False, service=service, account=account)


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> int:
    """Open the database with psql; further arguments are its own: `psql -c "SELECT 1"`."""
    return _run("run", function="psql", json=False, arguments=context.args)


@cli.command(name="open")
def open_page(
    page: Annotated[str, typer.Argument(metavar="web|console|mail|SERVICE")] = "web",
    json: Json = False,
) -> int:
    """Open the page of a service in the browser, and print its URL."""
    return _run("browse", json=json, page=page)


@cli.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    to: Annotated[
        str,
        typer.Option(metavar="SNAPSHOT", help="Begin with its data.", autocompletion=_snapshots),
    ] = "",
    json: Json = False,
) -> int:
    """Stop the stack and delete its data, whichever runtime has made them; snapshots stay."""
    return _run("stop", function="reset", json=json, yes=yes, to=to)


@snapshots.command()
def save(
    name: SnapshotName,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
    json: Json = False,
) -> int:
    """Save database, buckets, queues, mail and secrets. A stack that runs pauses meanwhile."""
    return _run("snapshot", function="save", json=json, name=name, replace=replace)


@snapshots.command(name="list")
def list_snapshots(json: Json = False) -> int:
    """Print the snapshots of this folder."""
    return _run("snapshot", function="show", json=json)


@snapshots.command()
def load(name: SnapshotName, json: Json = False) -> int:
    """Replace the data by a snapshot's; what is replaced becomes the snapshot `before-load`."""
    return _run("snapshot", function="load", json=json, name=name)


@snapshots.command()
def delete(name: SnapshotName, json: Json = False) -> int:
    """Delete a snapshot."""
    return _run("snapshot", function="delete", json=json, name=name)


@cli.command()
def trace(
    run_id: Annotated[UUID | None, typer.Argument(help="The id of a run.")] = None,
    replay: Annotated[
        str, typer.Option(metavar="FILE|RUN_ID", help="Post this callback once more instead.")
    ] = "",
    json: Json = False,
) -> int:
    """Print what happened to a run, or post its callback once more."""
    if (run_id is None) == (not replay):
        raise typer.BadParameter("Give the id of a run, or --replay.")
    return _run("trace", json=json, run_id=str(run_id), replay=replay)


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
    return _run("tunnel", json=json, check=check, dry_run=dry_run)


@cli.command()
def doctor(json: Json = False) -> int:
    """Look for what may be in the way, and print what helps."""
    return _run("doctor", json=json)


@cli.command()
def journal(  # noqa: PLR0913, PLR0917 - options
    method: Annotated[str, typer.Option(help="For example 'storage.*'.")] = "",
    resource: Annotated[str, typer.Option(help="Its full name; * for any text.")] = "",
    caller: Annotated[str, typer.Option(help="An address; 'web@*'.")] = "",
    status: Annotated[str, typer.Option(help="For example 503 or NOT_FOUND.")] = "",
    decision: Annotated[str, typer.Option(help="allowed, denied or unknown.")] = "",
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many calls.", min=1)] = 40,
    json: Json = False,
) -> int:
    """Print the newest calls to the emulated cloud: who, what, permission, answer."""
    return _run(
        "cloud",
        function="journal",
        json=json,
        lines=lines,
        method=method,
        resource=resource,
        caller=caller,
        status=status,
        decision=decision,
    )


@cli.command()
def missing(json: Json = False) -> int:
    """Print what programs asked the emulated cloud for and did not get."""
    return _run("cloud", function="missing", json=json)


fault = typer.Typer(help="Make calls to the emulated cloud fail on purpose.", no_args_is_help=True)
cli.add_typer(fault, name="fault")


@fault.command("add")
def fault_add(  # noqa: PLR0913, PLR0917 - options
    method: Annotated[str, typer.Argument(help="As in `devenv journal`; * for any text.")],
    status: Annotated[int, typer.Option(help="Answer with this HTTP status.")] = 0,
    delay: Annotated[float, typer.Option(help="Wait so many seconds first.")] = 0.0,
    reset: Annotated[bool, typer.Option("--reset", help="Break the connection.")] = False,
    lose_answer: Annotated[
        bool, typer.Option("--lose-answer", help="Do the work, then break the connection.")
    ] = False,
    times: Annotated[int, typer.Option(help="How often it strikes.")] = 1,
    seconds: Annotated[float, typer.Option("--for", help="End after so many seconds.")] = 0.0,
    resource: Annotated[str, typer.Option(help="Only these resources; * for any text.")] = "*",
    caller: Annotated[str, typer.Option(help="Only this account.")] = "*",
    json: Json = False,
) -> int:
    """Add a fault: devenv fault add storage.objects.insert --status 503 --times 3."""
    return _run(
        "cloud",
        function="add_fault",
        json=json,
        method=method,
        status=status,
        delay=delay,
        reset=reset,
        lose_answer=lose_answer,
        times=times,
        seconds=seconds,
        resource=resource,
        caller=caller,
    )


@fault.command("list")
def fault_list(json: Json = False) -> int:
    """Print all faults and how often they struck."""
    return _run("cloud", function="list_faults", json=json)


@fault.command("remove")
def fault_remove(
    number: Annotated[int | None, typer.Argument(help="Its id; all without one.")] = None,
    json: Json = False,
) -> int:
    """Remove a fault, or all."""
    return _run("cloud", function="remove_faults", json=json, number=number)
