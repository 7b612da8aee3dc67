"""`reset`: stop everything and delete its state, so that the next `up` begins anew."""

import argparse
import shutil
import sys

from devenv.cli import compose, down
from devenv.cli.context import Context
from devenv.services import bridge


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace, context: Context) -> int:
    folder, state = context.config.state, context.state()
    if not arguments.yes and not _agreed(context):
        return 2
    if context.is_running() and not down.stop(context):
        return 1
    if state.runtime == compose.RUNTIME:
        compose.reset(compose.project_of(context, state))
    if context.config.bridge_file.exists():
        bridge.clear(context.product_of(state))
    if folder.exists():
        shutil.rmtree(folder)
    context.output.success("Database, files, mail, logs and secrets are gone. make up begins anew.")
    return 0


def _agreed(context: Context) -> bool:
    if not sys.stdin.isatty():
        context.output.fail("Nobody is there to ask.", hint="make reset YES=1")
        return False
    context.output.say(f"  This deletes the database and all files in {context.config.state}.")
    print("  Go on? [y/N] ", end="", file=context.output.err, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
