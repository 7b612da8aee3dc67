"""`up`: start everything, say where it is, stream the logs until Ctrl-C."""

import argparse
import asyncio
from dataclasses import asdict, replace

from devenv.cli import compose, compose_up, detach, summary, tunnel
from devenv.cli.context import Context
from devenv.cli.foreground import Foreground
from devenv.config import Ports
from devenv.environment import wants_debuggers, wants_jobs, wants_mock
from devenv.product import JOBS, MODES, Product
from devenv.services import bridge, debugger
from devenv.stack import ports
from devenv.stack.statefile import Lock

RUNTIMES = ("process", compose.RUNTIME)
# Ports that nothing listens on.
_SILENT = {
    "emulated": ("queue",),
    "mock": ("gcp", "queue"),
    "local": ("gcp",),
    "tunnel": ("gcp", "queue"),
}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detach", action="store_true", help="return once everything is ready")
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--mode", default="", help=f"one of {', '.join(MODES)}")
    parser.add_argument("--runtime", default="process", help=f"one of {', '.join(RUNTIMES)}")
    parser.add_argument("--jobs", default=wants_jobs(), help=f"one of {', '.join(JOBS)}")


def run(arguments: argparse.Namespace, context: Context) -> int:
    if refusal := _refusal(arguments):
        context.output.fail(refusal, hint="make up")
        return 2
    if _already_runs(context):
        return 0
    if _mode(arguments) == "tunnel" and not arguments.background and not tunnel.is_clear(context):
        context.output.fail("The tunnel would not work.", hint="python -m devenv tunnel --check")
        return 1
    context.config.state.mkdir(exist_ok=True)
    context.config.state.chmod(0o700)  # keys, mails, passwords: for nobody else on this machine
    if arguments.runtime == compose.RUNTIME:
        return compose_up.run(context, mode=_mode(arguments), detach=arguments.detach)
    return _start(arguments, context)


def _start(arguments: argparse.Namespace, context: Context) -> int:
    if arguments.detach:
        return detach.up(context, mode=_mode(arguments), jobs=arguments.jobs)
    with Lock(context.config.lock):
        product = _product(context, mode=_mode(arguments), jobs=arguments.jobs)
        for image in bridge.build(product) if product.has_bridge else ():
            context.output.warn(f"There is no image {image}. Next: make validators")
        foreground = Foreground(context, product, stream=not arguments.background)
        return asyncio.run(foreground.run())


def _refusal(arguments: argparse.Namespace) -> str:
    if arguments.mode and arguments.mode not in MODES:
        return f"MODE={arguments.mode} is unknown; there are {', '.join(MODES)}."
    if arguments.runtime not in RUNTIMES:
        return f"RUNTIME={arguments.runtime} is unknown; there are {', '.join(RUNTIMES)}."
    if arguments.jobs not in JOBS:
        return f"JOBS={arguments.jobs} is unknown; there are {', '.join(JOBS)}."
    return ""


def _already_runs(context: Context) -> bool:
    """Say so, and where it is, if this folder's stack runs."""
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
    context.output.result(facts, summary.table(facts, context.output))
    return True


def _mode(arguments: argparse.Namespace) -> str:
    mode: str = arguments.mode or ("mock" if wants_mock() else "emulated")
    return mode


def _product(context: Context, *, mode: str, jobs: str) -> Product:
    """Take the ports, say which differ from what devenv.toml asks for."""
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
