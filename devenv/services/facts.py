"""Facts about a running stack: those that every stack has, and those that devenv.toml adds."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from devenv.config import Config
from devenv.gcp.references import References, named_in
from devenv.local_stack import LocalStack
from devenv.services import urls
from devenv.stack.statefile import StackState


def gather(
    config: Config,
    stack: LocalStack,
    state: StackState,
    *,
    written: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the data of `status --json`.

    `written` are the facts that a step of the stack wrote; by default they are read from its file.
    """
    references = stack.references()
    return {
        "name": config.about.name,
        "mode": state.mode,
        "title": stack.config.title,
        "runtime": state.runtime,
        "phase": state.phase,
        "services": {
            name: {"state": one.state, "pid": one.pid, "restarts": one.restarts, "note": one.note}
            for name, one in state.services.items()
        },
        "urls": urls(stack),
        "debuggers": {name: f"127.0.0.1:{port}" for name, port in stack.debug.items()},
        **_expanded(config.facts, references),
        **(read_file(config, stack) if written is None else written),
    }


def read_file(config: Config, stack: LocalStack) -> dict[str, Any]:
    """Return what a step wrote into `stack.facts_file`, nothing while that is missing or damaged."""
    name = stack.references().expand(config.about.facts_file)
    try:
        found = json.loads(Path(name).read_text()) if name else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def rows(config: Config, stack: LocalStack, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the summary that devenv.toml declares."""
    known = _with_facts(stack, facts)
    return [
        (label, known.expand(text)) for label, text in config.summary.rows if _is_known(text, known)
    ]


def paste(config: Config, stack: LocalStack, facts: Mapping[str, Any]) -> list[str]:
    """Return lines for a shell; values are quoted where they have to be."""
    known = _with_facts(stack, facts)
    lines = (line for line in config.summary.paste if _is_known(line, known))
    return [known.expand(line, quote=shlex.quote) for line in lines]


def run_variables(config: Config, stack: LocalStack, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that `run` adds to those of its service."""
    known = _with_facts(stack, facts)
    own = config.run.env.items()
    return {name: known.expand(text) for name, text in own if _is_known(text, known)}


def shown_secrets(config: Config) -> set[str]:
    """Return the secrets that devenv.toml shows to people; those of servers are never printed."""
    shown = [
        *_texts(config.facts),
        *(text for _, text in config.summary.rows),
        *config.summary.paste,
        *config.run.env.values(),
    ]
    named = (name for text in shown for name in named_in(text))
    return {name.removeprefix("secrets.") for name in named if name.startswith("secrets.")}


def _with_facts(stack: LocalStack, facts: Mapping[str, Any]) -> References:
    values: dict[str, str | Callable[[], str]] = dict(stack.references().values)
    return References(values | {f"facts.{name}": value for name, value in _flat(facts)})


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts of nested facts: `workflows[0].slug`."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _flat(one, f"{name}[{number}]")
    elif isinstance(value, str | int | float):
        yield name, str(value)


def _is_known(text: str, known: References) -> bool:
    return all(name in known.values for name in named_in(text))


def _expanded(value: Any, references: References) -> Any:
    if isinstance(value, str):
        return references.expand(value)
    if isinstance(value, Mapping):
        return {key: _expanded(one, references) for key, one in value.items()}
    if isinstance(value, list):
        return [_expanded(one, references) for one in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    yield from (text for _, text in _flat(value))
