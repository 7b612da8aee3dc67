"""Values of JSON as text in YAML: readable, stable, and read back as they were."""

import re
from typing import Any

import yaml

from validibot.engines import JSON

# Characters that a block of literal text cannot hold, or that would come back as something else.
_NOT_LITERAL = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_NUMBER = re.compile(
    r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


def write_yaml(value: JSON) -> str:
    """Return a value as text: keys in their order, text of several lines as a block."""
    # Never folded: a changed word is then a change of one line.
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000, indent=2
    )


def is_literal(text: str) -> bool:
    """Return whether a text can stand in YAML as it is, without escapes."""
    return not _NOT_LITERAL.search(text)


class _Dumper(yaml.CSafeDumper):
    """A writer that quotes each text which YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if is_literal(text) else '"'
    if style is None and "\n" in text:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
