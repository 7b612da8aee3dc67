"""`logs`: what services wrote, and what they write."""

import argparse

from devenv.cli import compose
from devenv.cli.board import WIDTH
from devenv.cli.context import Context
from devenv.cli.lines import readable
from devenv.stack.logfile import Follower, pause, tail


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="all, when none is named")
    parser.add_argument("-n", "--lines", type=int, default=40, help="how many old lines (40)")
    parser.add_argument("--no-follow", action="store_true", help="do not wait for new lines")


def run(arguments: argparse.Namespace, context: Context) -> int:
    if project := compose.find(context):
        return compose.logs(context, project, arguments)
    written = {path.stem for path in context.config.logs.glob("*.log")}
    # A service of the stack may have written nothing yet.
    known = sorted(written | set(context.state().services))
    names = arguments.services or known
    if unknown := sorted(set(names) - set(known)):
        context.output.fail(
            f"There is no log of {unknown[0]}; there is {', '.join(known) or 'none'}."
        )
        return 2
    paths = {name: context.config.logs / f"{name}.log" for name in names}
    followers = {name: Follower(path) for name, path in paths.items()}
    for name, path in paths.items():
        for line in tail(path, arguments.lines):
            _print(context, name, line, alone=len(names) == 1)
    while not arguments.no_follow:
        for name, follower in followers.items():
            for line in follower.new_lines():
                _print(context, name, line, alone=len(names) == 1)
        pause()
    return 0


def _print(context: Context, name: str, line: str, *, alone: bool) -> None:
    output = context.output
    if alone:
        text = "\n".join(readable(line, output.style))
    else:
        text = output.labelled(name, line, width=WIDTH)
    output.result({"service": name, "line": line}, text)
