"""`up`: start everything, print where it is, stream the logs until Ctrl-C."""

import asyncio
import subprocess
import sys
from dataclasses import replace

from devenv.cli import compose, compose_up, summary, tunnel
from devenv.cli.context import Context
from devenv.cli.foreground import Foreground
from devenv.environment import developer, is_switched_on, wants_debuggers
from devenv.local_stack import LocalStack
from devenv.services import bridge, debugger, facts
from devenv.stack import ports
from devenv.stack.logfile import Follower, pause
from devenv.stack.problems import UsageProblem
from devenv.stack.snapshot import SnapshotStore
from devenv.stack.statefile import Lock


def run(
    context: Context, *, mode: str, runtime: str, jobs: str, detach: bool, background: bool
) -> int:
    asked = mode or _switched_mode(context)
    mode = asked or context.config.about.profile
    layers = context.config.layers(mode, jobs=jobs)
    if _already_runs(context, mode=asked, runtime=runtime, jobs=jobs):
        return 0
    if not context.config.stacks[layers].services:
        raise UsageProblem(
            f"{context.config.file.name} describes no service: it has no table [services.NAME].",
            hint=f"edit {context.config.file.name}, or remove it and run devenv init",
        )
    calls_back = "tunnel" in context.config.stacks[layers].services
    if calls_back and not background and not tunnel.is_clear(context):
        context.output.fail("The tunnel would not work.", hint="devenv tunnel --check")
        return 1
    context.config.make_state()
    if runtime == compose.RUNTIME:
        return compose_up.run(context, mode=mode, detach=detach)
    if detach:
        return _detach(context, mode=mode, jobs=jobs)
    with Lock(context.config.lock):
        SnapshotStore(context.config.state).finish()
        stack = _stack(context, mode=mode, jobs=jobs)
        for image in bridge.build(stack) if stack.config.callback_network else ():
            context.output.warn(f"There is no image {image}. Next: make validators")
        return asyncio.run(Foreground(context, stack, stream=not background).run())


def _switched_mode(context: Context) -> str:
    """Return the profile whose switch is on in the shell, empty if none is."""
    profiles = context.config.profiles.items()
    return next((name for name, profile in profiles if is_switched_on(profile.switch)), "")


def _already_runs(context: Context, *, mode: str, runtime: str, jobs: str) -> bool:
    """Print where the stack of this folder is, if it runs; return whether it does.

    Raises UsageProblem if it runs in another way than is asked for; an empty `mode` and `process` are
    content with any.
    """
    project = compose.find(context)
    if not project and not context.is_running():
        return False
    state = context.state()
    for name, wanted, runs in (
        ("--mode", mode, state.mode or context.config.about.profile),
        ("--runtime", runtime, compose.RUNTIME if project else "process"),
        ("--jobs", jobs, state.jobs or "process"),
    ):
        if wanted not in ("", "process", runs):
            raise UsageProblem(f"It already runs here with {name} {runs}.", hint="make down")
    if project:
        context.output.success("It already runs here, in containers: nothing to do.")
        compose.tell(context, project)
    else:
        context.output.success(f"It already runs here (process {state.pid}): nothing to do.")
        _print_facts(context, context.stack_of(state))
    return True


def _stack(context: Context, *, mode: str, jobs: str) -> LocalStack:
    """Choose the ports; report those that differ from devenv.toml."""
    wanted = context.config.stacks[context.config.layers(mode, jobs=jobs)].wanted_ports()
    remembered = context.last_state().ports
    take = ports.Reservations().take
    taken = ports.choose(wanted, remembered=remembered, free=take)
    for name, port in taken.items():
        if port != wanted[name]:
            context.output.warn(
                f"{name:<{context.output.width}}  port {wanted[name]} is taken by {ports.holder(wanted[name])};"
                f" it listens on {port}"
            )
    stack = context.stack(mode=mode, jobs=jobs, ports=taken)
    listening = debugger.wanted(wants_debuggers(), stack)
    return replace(stack, debug=ports.choose(listening, remembered={}, free=take))


def _detach(context: Context, *, mode: str, jobs: str) -> int:
    """Start a supervisor that outlives the terminal; return 0 once all is ready, else its code."""
    log = context.config.state / "up.log"
    with log.open("w") as file:
        supervisor = subprocess.Popen(
            [
                *(sys.executable, "-m", "devenv", "up", "--background"),
                *("--mode", mode, "--jobs", jobs),
            ],
            cwd=context.config.root,
            env=developer() | ({"FORCE_COLOR": "1"} if context.output.colour else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    says = Follower(log)
    while not (ready := _is_ready(context, supervisor.pid)) and supervisor.poll() is None:
        _repeat(says, context)
        pause()
    _repeat(says, context)
    if not ready:
        return supervisor.returncode
    _print_facts(context, context.running_stack())
    context.output.say("  It runs in the background. make logs follows it, make down stops it.\n")
    return 0


def _is_ready(context: Context, pid: int) -> bool:
    state = context.state()
    return state.pid == pid and state.phase == "ready"


def _repeat(says: Follower, context: Context) -> None:
    for line in says.new_lines():
        context.output.say(line)


def _print_facts(context: Context, stack: LocalStack) -> None:
    found = facts.gather(context.config, stack, context.state())
    context.output.result(found, summary.table_of(context.config, stack, found))
