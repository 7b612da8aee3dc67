"""Commands and options for the emulated cloud: its journal, what it lacks, faults, clock."""

from typing import Annotated

import typer

from devenv.cli.module import Json, run_module

cli = typer.Typer()


@cli.command()
def journal(  # noqa: PLR0913, PLR0917 - options
    method: Annotated[str, typer.Option(help="For example 'storage.*'.")] = "",
    resource: Annotated[str, typer.Option(help="Its full name; * for any text.")] = "",
    caller: Annotated[str, typer.Option(help="An address; 'web@*'.")] = "",
    status: Annotated[str, typer.Option(help="For example 503 or NOT_FOUND.")] = "",
    decision: Annotated[
        str, typer.Option(help="allowed, denied, open, refused, unauthenticated, fault or unknown.")
    ] = "",
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many calls.", min=1)] = 40,
    json: Json = False,
) -> int:
    """Print the newest calls to the emulated cloud: who, what, permission, answer."""
    return run_module(
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
    return run_module("cloud", function="missing", json=json)


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
    duplicate: Annotated[
        bool, typer.Option("--duplicate", help="Deliver twice; for the method deliver.")
    ] = False,
    reorder: Annotated[
        bool, typer.Option("--reorder", help="Deliver after the next one; for the method deliver.")
    ] = False,
    outcome: Annotated[
        str, typer.Option(help="crash, out_of_memory or hang; for the method run.attempt.")
    ] = "",
    times: Annotated[int, typer.Option(help="How often it strikes.")] = 1,
    seconds: Annotated[float, typer.Option("--for", help="End after so many seconds.")] = 0.0,
    resource: Annotated[str, typer.Option(help="Only these resources; * for any text.")] = "*",
    caller: Annotated[str, typer.Option(help="Only this account.")] = "*",
    json: Json = False,
) -> int:
    """Add a fault: devenv fault add storage.objects.insert --status 503 --times 3."""
    return run_module(
        "cloud",
        function="add_fault",
        json=json,
        method=method,
        status=status,
        delay=delay,
        reset=reset,
        lose_answer=lose_answer,
        duplicate=duplicate,
        reorder=reorder,
        outcome=outcome,
        times=times,
        seconds=seconds,
        resource=resource,
        caller=caller,
    )


@fault.command("list")
def fault_list(json: Json = False) -> int:
    """Print all faults and how often they struck."""
    return run_module("cloud", function="list_faults", json=json)


@fault.command("remove")
def fault_remove(
    number: Annotated[int | None, typer.Argument(help="Its id; all without one.")] = None,
    json: Json = False,
) -> int:
    """Remove a fault, or all."""
    return run_module("cloud", function="remove_faults", json=json, number=number)


clock = typer.Typer(help="Turn the clock of the emulated cloud forward.", no_args_is_help=True)
cli.add_typer(clock, name="clock")


@clock.command("show")
def clock_show(json: Json = False) -> int:
    """Print the time of the emulated cloud."""
    return run_module("cloud", function="show_clock", json=json)


_NEGATIVE = {
    "ignore_unknown_options": True,
    "help_option_names": ["--help"],
}  # -5m and -3h are values


@clock.command("advance", context_settings=_NEGATIVE)
def clock_advance(
    by: Annotated[str, typer.Argument(help="90s, 10m, 2h, 1d, 1w or 1d12h.")], json: Json = False
) -> int:
    """Turn the clock forward: devenv clock advance 2h."""
    return run_module("cloud", function="turn_clock", json=json, advance=by)


@clock.command("set")
def clock_set(
    to: Annotated[str, typer.Argument(help="A later time; in UTC if it names no offset.")],
    json: Json = False,
) -> int:
    """Turn the clock forward to a time: devenv clock set 2027-01-31T12:00Z."""
    return run_module("cloud", function="turn_clock", json=json, set=to)


@clock.command("reset")
def clock_reset(json: Json = False) -> int:
    """Give the emulated cloud the machine's time again."""
    return run_module("cloud", function="reset_clock", json=json)
