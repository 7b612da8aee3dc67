"""URLs and credentials of a stack: a table for people, the same as data for scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from devenv.cli.output import table
from devenv.config import Config
from devenv.local_stack import LocalStack
from devenv.services import facts as stack_facts


def table_of(config: Config, stack: LocalStack, facts: Mapping[str, Any]) -> Group:
    """Return the table that ends `up`: first service, own rows, other services, debuggers."""
    places = [
        (service.label or name, facts["urls"][name])
        for name, service in stack.config.services.items()
        if name in facts["urls"]
    ]
    rows = [
        *places[:1],
        *stack_facts.rows(config, stack, facts),
        *places[1:],
        *((f"Debug {name}", place) for name, place in facts["debuggers"].items()),
    ]
    titles = (facts["name"], facts["title"], "in containers" if facts["runtime"] else "")
    pasted = stack_facts.paste(config, stack, facts)
    return Group(
        "",
        Text(f"  {' · '.join(title for title in titles if title)}", style="bold"),
        "",
        table(rows),
        "",
        *_terminal(pasted),
    )


def _terminal(lines: Sequence[str]) -> list[Text]:
    """Return the lines to paste below a heading, if there are any."""
    heading = Text("  From another terminal", style="bold")
    return [heading, Text(), *(Text(f"  {line}") for line in lines), Text()] if lines else []
