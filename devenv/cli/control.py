"""`start`, `stop`, `restart`: commands to the supervisor of the running stack."""

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.stack import control
from devenv.stack.problems import StackError
from devenv.stack.statefile import StackState

_DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


def run(context: Context, *, command: str, service: str) -> int:
    """Start, stop or restart a service; return when that is done."""
    if project := compose.find(context):
        compose.control(project, command, service)
        result: dict[str, object] = {"service": service}
    else:
        with (
            control.connect(running(context).control) as client,
            context.output.progress(f"{service}: {command}"),
        ):
            result = {"service": service, **client.ask(command, service=service)}
    context.output.success(f"{service} {_DONE[command]}.")
    context.output.result(result, "")
    return 0


def running(context: Context) -> StackState:
    """Return the state of the stack that runs as processes. Raises StackError if none does."""
    if not context.is_running():
        raise StackError("The developer environment does not run.", hint="make up")
    return context.state()
