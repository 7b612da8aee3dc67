"""`trace`: the calls of a trace, in the order of their start."""

from uuid import UUID

from devenv.cli.cloud import ask_cloud, calls_table
from devenv.cli.context import Context
from devenv.stack.problems import StackError


def run(context: Context, *, trace_id: UUID) -> int:
    calls = ask_cloud(context, f"traces/{trace_id.hex}")["calls"]
    if not calls:
        raise StackError(f"No call has the trace {trace_id.hex}.", hint="devenv journal --json")
    context.output.result(calls, calls_table(calls))
    return 0
