"""`tunnel`: the public URL of this machine, a dry run of the calls to Google, and checks."""

import asyncio
import json
import shlex
from dataclasses import asdict

from devenv.cli import doctor
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.config import Config
from devenv.environment import developer
from devenv.schema import StackConfig, TunnelService
from devenv.stack.problems import StackError
from devenv.tunnel import published
from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.doors import Echo


def run(context: Context, *, check: bool, dry_run: bool) -> int:
    config = context.config.need_tunnel()
    if dry_run:
        return _dry_run(config, context)
    if check:
        return _check(config, context)
    found = _open(context)
    if found is None:
        context.output.result({"open": False}, "  closed")
        context.output.fail("No tunnel is open.", hint="make up MODE=tunnel")
        return 1
    rows = [
        ("URL", found.url),
        ("Provider", f"{found.provider} (process {found.pid})"),
        ("Requests", str(context.config.state / "requests")),
    ]
    context.output.result({"open": True, **asdict(found)}, table(rows))
    return 0


def _declared(config: Config) -> tuple[StackConfig, TunnelService]:
    """Return the profile with a tunnel, and its table. Raises StackError if there is none."""
    for stack in config.stacks.values():
        if stack.tunnel:
            return stack, stack.tunnel
    raise StackError("No profile of devenv.toml has [services.tunnel].", hint="edit devenv.toml")


def is_clear(context: Context) -> bool:
    """Run the checks that need nothing started; print those that are not ok."""
    from devenv.tunnel import checks  # noqa: PLC0415 - Google's libraries, for this mode only

    found = checks.before(context.config.need_tunnel(), path=developer()["PATH"])
    for check in found:
        if check.result != "ok":
            context.output.say(doctor.line(check, context.output))
    return all(check.result != "fail" for check in found)


def _open(context: Context) -> published.Published | None:
    found = published.read(published.file_in(context.config.state))
    return found if found and found.is_alive() else None


def _check(config: TunnelConfig, context: Context) -> int:
    from devenv.tunnel import checks  # noqa: PLC0415 - as above
    from devenv.tunnel.tunnel import TunnelPlace, trial  # noqa: PLC0415 - as above

    stack, service = _declared(context.config)
    place = TunnelPlace(
        root=context.config.root,
        state=context.config.state,
        paths=service.paths,
        worker_port=stack.wanted_ports()[service.target],
        environ=developer(),
    )
    found = checks.before(config, path=developer()["PATH"])
    if here := _open(context):
        found += checks.through(config, here.url, Echo(place.echo), service.paths[0].path)
    elif all(check.result != "fail" for check in found if check.name in _TAKEN_FOR_GRANTED):
        found += asyncio.run(trial(config, place))
    return doctor.report(found, context.output)


# Without these a tunnel cannot even be tried.
_TAKEN_FOR_GRANTED = ("program", "clock", "credentials")


def _dry_run(config: TunnelConfig, context: Context) -> int:
    from devenv.tunnel import plan  # noqa: PLC0415 - as above

    _, service = _declared(context.config)
    command, steps = plan.command(config), plan.steps(config, service.paths, service.job_env)
    data = {"command": command, "calls": [asdict(step) for step in steps]}
    lines = ["  The tunnel program", "", f"    {shlex.join(command)}", ""]
    lines += ["  The calls to Google", ""]
    for step in steps:
        lines += [f"    {step.when}: {step.why}", f"      {step.call.method} {step.call.url}"]
        lines += [f"      {json.dumps(step.call.body)}"] if step.call.body else []
    context.output.result(data, "\n".join(lines))
    context.output.say("\n  None of it was done.")
    return 0
