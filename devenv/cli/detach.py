"""`up --detach`: start a supervisor that outlives the terminal, wait until it is ready."""

import subprocess
import sys

from devenv.cli import summary
from devenv.cli.context import Context
from devenv.environment import developer
from devenv.stack.logfile import Follower, pause


def up(context: Context, *, mode: str, jobs: str) -> int:
    """Return 0 once everything is ready, else the exit code of the supervisor."""
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
    return _tell(context) if ready else supervisor.returncode


def _is_ready(context: Context, pid: int) -> bool:
    state = context.state()
    return state.pid == pid and state.phase == "ready"


def _repeat(says: Follower, context: Context) -> None:
    for line in says.new_lines():
        context.output.say(line)


def _tell(context: Context) -> int:
    facts = summary.facts(context.running_product(), context.state())
    context.output.result(facts, summary.table(facts, context.output))
    context.output.say("  It runs in the background. make logs follows it, make down stops it.\n")
    return 0
