"""`up`: start everything, print where it is, stream the logs until Ctrl-C."""

import asyncio
import subprocess
import sys
from dataclasses import asdict, replace

from devenv.cli import compose, compose_up, summary, tunnel
from devenv.cli.context import Context
from devenv.cli.foreground import Foreground
from devenv.config import Ports
from devenv.environment import developer, wants_debuggers, wants_mock
from devenv.product import Product
from devenv.services import bridge, debugger
from devenv.stack import ports
from devenv.stack.logfile import Follower, pause
from devenv.stack.statefile import Lock

# Ports that nothing listens on.
_SILENT = {
    "emulated": ("queue",),
    "mock": ("gcp", "queue"),
    "local": ("gcp",),
    "tunnel": ("gcp", "queue"),
}


def run(
    context: Context, *, mode: str, runtime: str, jobs: str, detach: bool, background: bool
) -> int:
    if _already_runs(context):
        return 0
    mode = mode or ("mock" if wants_mock() else "emulated")
    if mode == "tunnel" and not background and not tunnel.is_clear(context):
        context.output.fail("The tunnel would not work.", hint="devenv tunnel --check")
        return 1
    context.config.state.mkdir(exist_ok=True)
    context.config.state.chmod(0o700)  # keys, mails, passwords: for nobody else on this machine
    if runtime == compose.RUNTIME:
        return compose_up.run(context, mode=mode, detach=detach)
    if detach:
        return _detach(context, mode=mode, jobs=jobs)
    with Lock(context.config.lock):
        product = _product(context, mode=mode, jobs=jobs)
        for image in bridge.build(product) if product.has_bridge else ():
            context.output.warn(f"There is no image {image}. Next: make validators")
        return asyncio.run(Foreground(context, product, stream=not background).run())


def _already_runs(context: Context) -> bool:
    """Print where the stack of this folder is, if it runs; return whether it does."""
    if project := compose.find(context):
        context.output.success("It already runs here, in containers: nothing to do.")
        compose.tell(context, project)
        return True
    if not context.is_running():
        return False
    state = context.state()
    product = context.product_of(state)
    context.output.success(f"It already runs here (process {state.pid}): nothing to do.")
    facts = summary.facts(product, state)
    context.output.result(facts, summary.table_of(facts))
    return True


def _product(context: Context, *, mode: str, jobs: str) -> Product:
    """Choose the ports; report those that differ from devenv.toml."""
    wanted = asdict(context.config.ports)
    remembered = context.last_state().ports
    take = ports.Reservations().take
    taken = ports.choose(wanted, remembered=remembered, free=take)
    for name, port in taken.items():
        if port != wanted[name] and name not in _SILENT[mode]:
            context.output.warn(
                f"{name:<8}  port {wanted[name]} is taken by {ports.holder(wanted[name])};"
                f" it listens on {port}"
            )
    product = context.product(ports=Ports(**taken), mode=mode, jobs=jobs)
    listening = debugger.wanted(wants_debuggers(), product)
    return replace(product, debug=ports.choose(listening, remembered={}, free=take))


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
    return _print_facts(context) if ready else supervisor.returncode


def _is_ready(context: Context, pid: int) -> bool:
    state = context.state()
    return state.pid == pid and state.phase == "ready"


def _repeat(says: Follower, context: Context) -> None:
    for line in says.new_lines():
        context.output.say(line)


def _print_facts(context: Context) -> int:
    facts = summary.facts(context.running_product(), context.state())
    context.output.result(facts, summary.table_of(facts))
    context.output.say("  It runs in the background. make logs follows it, make down stops it.\n")
    return 0
