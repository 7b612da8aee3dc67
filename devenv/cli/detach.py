"""`up --detach`: start a supervisor that outlives the terminal, wait until it is ready."""

import subprocess
import sys
import time

from devenv.cli import summary
from devenv.cli.board import tell
from devenv.cli.context import Context
from devenv.environment import machine
from devenv.stack.logfile import tail
from devenv.stack.statefile import StackState

_PAUSE = 0.1
_LAST_LINES = 20


def up(context: Context) -> int:
    """Return 0 once everything is ready, 1 if it could not be brought up."""
    log = context.config.state / "up.log"
    with log.open("w") as file:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "devenv", "up"],
            cwd=context.config.root,
            env=machine(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    seen: dict[str, str] = {}
    while supervisor.poll() is None:
        state = context.state()
        if state.pid == supervisor.pid:
            _tell_news(context, state, seen)
            if state.phase == "ready":
                return _ready(context)
        time.sleep(_PAUSE)
    for line in tail(log, _LAST_LINES):
        context.output.say(line)
    return 1


def _tell_news(context: Context, state: StackState, seen: dict[str, str]) -> None:
    for name, one in state.services.items():
        if seen.get(name) != one.state:
            seen[name] = one.state
            tell(context.output, name, one)


def _ready(context: Context) -> int:
    facts = summary.facts(context.running_product(), context.state())
    context.output.result(facts, summary.table(facts, context.output))
    context.output.say("  It runs in the background. make logs follows it, make down stops it.\n")
    return 0
