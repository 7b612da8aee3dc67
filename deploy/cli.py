"""Commands of `python -m deploy`; an error is one sentence on standard error and exit code 1."""

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from deploy import verify
from deploy.by_hand import commands_by_hand
from deploy.costs import MonthlyLoad, cost_sheet
from deploy.errors import DeployError, explained
from deploy.golive import PERSONAL_TASKS, machine_checks
from deploy.google import GoogleCloud
from deploy.layout import Layout
from deploy.mailbox import mailbox_of
from deploy.modal_app import publish
from deploy.plan import Change, apply as apply_changes, check_no_data, delete, deletions, plan
from deploy.push import push
from deploy.resource import Resource
from deploy.resources.secret import Secret
from deploy.rotation import rotate, rotation_ends
from deploy.sign_up import NAME as SIGN_UP, sign_up_check
from deploy.simulate import RunProfile, simulation_lines
from deploy.stage_file import read_stage
from deploy.status import status_lines

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deploy Validibot to Google Cloud. docs/production.md describes the commands.",
)
secrets_app = typer.Typer(no_args_is_help=True, help="Values of secrets.")
app.add_typer(secrets_app, name="secrets")

ContainersOption = Annotated[
    float, typer.Option(min=0, max=1, help="Part of the runs that have a container step.")
]
SecondsOption = Annotated[float, typer.Option(min=0, help="Seconds that a container runs.")]
StageArgument = Annotated[str, typer.Argument(help="Name or path of the stage file.")]
TagOption = Annotated[str, typer.Option("--tag", help="Image tag, in place of the stage file's.")]
OnlyOption = Annotated[
    str, typer.Option("--only", help="Kinds of resources, separated by commas: apis,repository")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before deleting.")]
DeleteOption = Annotated[
    bool | None,
    typer.Option(
        "--yes/--keep", help="Delete what the stage file no longer names, or keep it; do not ask."
    ),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit. Errors that the operator can mend are printed without a traceback."""
    try:
        with explained("Google"):
            app(args=arguments)
    except DeployError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def layout_of(stage: str, tag: str = "") -> Layout:
    """Return the resources of a stage, by name or path. Raises DeployError."""
    found = read_stage(stage, image_tag=tag)
    return Layout(found, GoogleCloud(found.project, found.region), verify.check_revision)


@app.command("plan")
def plan_command(stage: StageArgument, tag: TagOption = "", only: OnlyOption = "") -> None:
    """Show what `apply` would change; change nothing."""
    layout = layout_of(stage, tag)
    changes = plan(_selected(layout, only), [] if only else layout.strays())
    for change in changes:
        typer.echo("\n".join(change.lines()))
    typer.echo(_summary(changes))
    if changes and not only:
        _tell_by_hand(layout)


@app.command("apply")
def apply_command(
    stage: StageArgument, tag: TagOption = "", only: OnlyOption = "", yes: DeleteOption = None
) -> None:
    """Bring the cloud in line with the stage file; can be interrupted and repeated."""
    layout = layout_of(stage, tag)
    count = apply_changes(
        _selected(layout, only),
        (lambda: ()) if only else layout.strays,
        tell=_tell,
        may_delete=lambda changes: _may_delete(changes, yes=yes),
    )
    typer.echo(f"{count} changes." if count else "Nothing to change.")
    if count and not only:
        typer.echo(f"Site: {layout.names.site_url}")
        _tell_by_hand(layout)


@app.command("push")
def push_command(stage: StageArgument, tag: TagOption = "") -> None:
    """Push the images that `make image validators` built to the repository of a stage."""
    push(layout_of(stage, tag), tell=lambda line: typer.echo(f"    $ {line}"))


@app.command("modal")
def modal_command(stage: StageArgument, tag: TagOption = "") -> None:
    """Publish the pushed images of the validators as functions of an app at Modal."""
    publish(layout_of(stage, tag), tell=typer.echo)


@app.command()
def status(stage: StageArgument) -> None:
    """Show the services with their revisions and traffic, the releases and the queues."""
    for line in status_lines(layout_of(stage)):
        typer.echo(line)


@app.command("verify")
def verify_command(
    stage: StageArgument,
    api_key: Annotated[
        str,
        typer.Option(envvar="VALIDIBOT_TOKEN", help="API key; without it nothing is launched."),
    ] = "",
    org: Annotated[str, typer.Option(help="Organisation that has the seeded workflows.")] = "demo",
    seconds: Annotated[float, typer.Option(help="Time for each run.")] = 300.0,
    workflow: Annotated[
        list[str], typer.Option(help="Launch this workflow and not all; can be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    mailbox: Annotated[
        str,
        typer.Option(
            envvar="VALIDIBOT_MAILBOX",
            help="Where mail arrives: http://HOST or imaps://USER:PASSWORD@HOST; else no sign-up.",
        ),
    ] = "",
) -> None:
    """Check the running services from outside, sign up, and launch the seeded workflows."""
    layout = layout_of(stage)
    skipped = [] if api_key else verify.workflows(workflow)
    asks = bool(api_key) and not workflow
    unanswered, reason = verify.workflows_without_model(layout, org) if asks else ([], "")
    launches = verify.Launches(
        api_key=api_key, org=org, seconds=seconds, only=workflow, skipped=unanswered
    )
    inbox = mailbox_of(mailbox) if mailbox else None
    signing_up = [sign_up_check(layout, inbox, seconds)] if inbox else []
    failed = _failed([*verify.checks(layout, launches if api_key else None), *signing_up])
    if not inbox:
        typer.echo(f"skipped {SIGN_UP}: name a mailbox with --mailbox or VALIDIBOT_MAILBOX")
    for slug in unanswered:
        typer.echo(f"skipped workflow {slug}: {reason}")
    for slug in skipped:
        typer.echo(f"skipped workflow {slug}")
    if skipped:
        typer.echo(
            f"Without an API key nothing is launched. Sign in as a member of {org}, make a key under "
            "Settings > API keys, and repeat the command with --api-key or VALIDIBOT_TOKEN."
        )
    if failed:
        raise DeployError(
            f"{len(failed)} checks failed: {', '.join(failed)}. Run `python -m deploy plan {stage}` to "
            "see what differs, or `rollback` to return to the revisions before."
        )


@app.command("golive")
def golive_command(stage: StageArgument) -> None:
    """Check what a machine can check before users come, and list what a person must do."""
    layout = layout_of(stage)
    failed = _failed(machine_checks(layout))
    _tell_by_hand(layout)
    typer.echo("\nTasks of a person:")
    for task in PERSONAL_TASKS:
        typer.echo(f"[ ] {task}")
    if failed:
        raise DeployError(
            f"{len(failed)} checks failed: {', '.join(failed)}. Mend them, then run `golive` again."
        )


@app.command("simulate")
def simulate_command(
    stage: StageArgument,
    rate: Annotated[
        list[float], typer.Option(min=0.001, help="Runs per second; can be repeated.")
    ] = [1, 100, 10_000],  # noqa: B006 - typer copies it
    containers: ContainersOption = RunProfile.container_share,
    seconds: SecondsOption = RunProfile.container_seconds,
    connections: Annotated[
        int,
        typer.Option(min=0, help="Connection limit of the database; 0: that of `[database]`."),
    ] = 0,
) -> None:
    """Compare the load at some rates of runs with the limits; calls nothing."""
    profile = RunProfile(container_share=containers, container_seconds=seconds)
    for each in rate:
        for line in simulation_lines(read_stage(stage), each, connections, profile):
            typer.echo(line)


@app.command("costs")
def costs_command(
    stage: StageArgument,
    runs: Annotated[float, typer.Option(min=0, help="Runs in a month.")] = 10_000,
    containers: ContainersOption = RunProfile.container_share,
    seconds: SecondsOption = RunProfile.container_seconds,
    files: Annotated[float, typer.Option(min=0, help="GiB of files that are kept.")] = 50,
    rows: Annotated[float, typer.Option(min=0, help="GiB of the database.")] = 10,
) -> None:
    """Compute the cost of a month from list prices, with its arithmetic; calls nothing."""
    profile = RunProfile(container_share=containers, container_seconds=seconds)
    load = MonthlyLoad(runs=runs, files_gib=files, rows_gib=rows)
    for line in cost_sheet(read_stage(stage), load, profile):
        typer.echo(line)


@app.command()
def rollback(stage: StageArgument) -> None:
    """Move the traffic of both services back to the revisions that had it before."""
    for traffic in reversed(layout_of(stage).product.traffic):
        typer.echo(f"{traffic.address}: {traffic.roll_back()} has all traffic.")


@app.command()
def destroy(
    stage: StageArgument,
    yes: YesOption = False,
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Delete files, secrets and databases, too.")
    ] = False,
) -> None:
    """Delete everything that was made for a stage."""
    layout = layout_of(stage)
    owned = [each for each in layout.resources() if not each.is_shared]
    changes = deletions([*layout.strays(), *reversed(owned)])
    if not with_data:
        check_no_data(changes)
    if changes and _may_delete(changes, yes=yes):
        typer.echo(f"{delete(changes, tell=_tell)} changes.")


@secrets_app.command("set")
def set_secret(stage: StageArgument, name: str) -> None:
    """Give a secret the value on standard input; running instances keep the old one."""
    secret = layout_of(stage).data.secret(name)
    value = _given(secret, f"set {stage} {name}")
    if secret.read() is None:
        secret.create_empty()
    typer.echo(f"{secret.address} has version {secret.add(value)}.")


@secrets_app.command("rotate")
def rotate_secret(
    stage: StageArgument,
    name: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the rotation.")] = False,
) -> None:
    """Replace the value of a secret everywhere: generated, or that on standard input."""
    layout = layout_of(stage)
    secret = layout.data.secret(name)
    if not secret.variable:
        raise DeployError(
            f"{secret.address}: custom validators name its version. Add one with `secrets set {stage}"
            f" {secret.name}`, and enter its number on the page of each validator that has it."
        )
    value = secret.generate() if secret.generate else _given(secret, f"rotate {stage} {name} --yes")
    typer.echo(f"The rotation of {secret.variable} ends {rotation_ends(secret)}.")
    if yes or typer.confirm("Rotate it?", default=False):
        rotate(layout, secret, value, tell=lambda line: typer.echo(f"    $ {line}"))
        typer.echo(
            f"{secret.address} is rotated; its older versions are disabled, and destroyed in a week."
        )


def _failed(checks: Iterable[verify.StageCheck]) -> list[str]:
    """Run checks and print a line for each; return the names of those that failed."""
    failed = []
    for name, message in verify.results(checks):
        typer.echo(f"{'FAILED' if message else 'ok':<7} {name}{f': {message}' if message else ''}")
        failed += [name] if message else []
    return failed


def _given(secret: Secret, words: str) -> str:
    """Return the value on standard input. Raises DeployError if it is empty."""
    value = sys.stdin.read().strip()
    if not value:
        raise DeployError(
            f"{secret.address}: standard input is empty. Write the value to it, for example with "
            f"`python -m deploy secrets {words} < FILE`."
        )
    return value


def _selected(layout: Layout, only: str) -> list[Resource]:
    """Return the resources of some kinds, all without `only`. Raises DeployError."""
    resources = list(layout.resources())
    kinds = [kind for kind in only.split(",") if kind]
    known = list(dict.fromkeys(each.kind for each in resources))
    for kind in kinds:
        if kind not in known:
            raise DeployError(
                f"--only has the unknown kind {kind!r:.40}; known are {', '.join(known)}."
            )
    return [each for each in resources if not kinds or each.kind in kinds]


def _tell(change: Change) -> None:
    for line in change.lines():
        typer.echo(line)
    for line in change.gcloud():
        typer.echo(f"    $ {line}")


def _tell_by_hand(layout: Layout) -> None:
    if lines := list(commands_by_hand(layout)):
        typer.echo("By hand, once:")
        for line in lines:
            typer.echo(f"    $ {line}")


def _may_delete(changes: Sequence[Change], *, yes: bool | None) -> bool:
    for change in changes:
        typer.echo("\n".join(change.lines()))
    if yes is not None:
        return yes
    return typer.confirm(f"Delete these {len(changes)} resources?", default=False)


def _summary(changes: Sequence[Change]) -> str:
    if not changes:
        return "Nothing to change."
    counts = {"create": 0, "update": 0, "delete": 0}
    for change in changes:
        counts[change.action] += 1
    return ", ".join(f"{number} to {action}" for action, number in counts.items()) + "."
