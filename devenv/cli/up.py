"""`up`: start everything, say where it is, stream the logs until Ctrl-C."""

import argparse
import asyncio
from dataclasses import asdict

from devenv.cli import detach, summary
from devenv.cli.context import Context, ports_of
from devenv.cli.foreground import Foreground
from devenv.config import Ports
from devenv.environment import Product, wants_mock
from devenv.stack import ports, statefile
from devenv.stack.statefile import Lock


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detach", action="store_true", help="return once everything is ready")
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--mode", default="emulated", help="emulated (the only one so far)")
    parser.add_argument("--runtime", default="process", help="process (the only one so far)")


def run(arguments: argparse.Namespace, context: Context) -> int:
    if refusal := _refusal(arguments):
        context.output.fail(refusal, hint="make up")
        return 2
    if context.is_running():
        return _already_runs(context)
    context.config.state.mkdir(exist_ok=True)
    context.config.state.chmod(0o700)  # keys, mails, passwords: for nobody else on this machine
    if arguments.detach:
        return detach.up(context)
    with Lock(context.config.lock):
        foreground = Foreground(context, _product(context), stream=not arguments.background)
        return asyncio.run(foreground.run())


def _refusal(arguments: argparse.Namespace) -> str:
    if arguments.mode != "emulated":
        return f"MODE={arguments.mode} is not there yet; there is MODE=emulated."
    if arguments.runtime != "process":
        return f"RUNTIME={arguments.runtime} is not there yet; there is RUNTIME=process."
    return ""


def _already_runs(context: Context) -> int:
    state = context.state()
    product = context.product(ports=ports_of(context.config, state), mock=state.mode == "mock")
    context.output.success(f"It already runs here (process {state.pid}): nothing to do.")
    facts = summary.facts(product, state)
    context.output.result(facts, summary.table(facts, context.output))
    return 0


def _product(context: Context) -> Product:
    """Take the ports, say which differ from what devenv.toml asks for."""
    wanted = asdict(context.config.ports)
    remembered = statefile.read(context.config.state_file).ports
    taken = ports.choose(wanted, remembered=remembered, free=ports.Reservations().take)
    mock = wants_mock()
    for name, port in taken.items():
        if port != wanted[name] and not (mock and name == "gcp"):
            context.output.warn(
                f"{name:<8}  port {wanted[name]} is taken by {ports.holder(wanted[name])};"
                f" it listens on {port}"
            )
    return context.product(ports=Ports(**taken), mock=mock)
