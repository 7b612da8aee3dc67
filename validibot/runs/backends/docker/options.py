"""What an operator may decide about containers: the OPTIONS of the backend, refused by name."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from containers import Network

_OWNER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,40}")
_USER = re.compile(r"\d{1,9}:\d{1,9}")


def _own_name() -> str:
    """Tell this deployment's containers from those of another on the same engine."""
    return f"validibot-{hashlib.sha256(settings.DATA_ROOT.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`network` is what containers reach: `callback`, `none` (then nobody calls back) or `open`;
    `network_name` an existing network instead of our own.

    `memory_mb` and `cpus` are the most that a container gets, `output_mb` the most that it may
    write. `user` is who runs in it, `uid:gid`; otherwise whom the image is made for, if not root.
    `environ` are further variables, `owner` marks what is ours on the engine.
    """

    network: Network = Network.CALLBACK
    network_name: str = ""
    memory_mb: int = 65_536
    cpus: float = 2.0
    output_mb: int = 2048
    user: str = ""
    owner: str = field(default_factory=_own_name)
    environ: Mapping[str, str] = field(default_factory=dict)
    allow_without_debug: bool = False

    @classmethod
    def parse(cls, where: str, given: Mapping[str, Any]) -> Self:
        """Raises ImproperlyConfigured."""
        known = [each.name for each in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ImproperlyConfigured(
                    f"{where} has the unknown option {name!r}; known are {', '.join(known)}."
                )
            expected, is_right = _RULES[name]
            if not is_right(value):
                raise ImproperlyConfigured(f"{where}: {name} is {value!r}; it must be {expected}.")
        network = Network(given.get("network", Network.CALLBACK))
        return cls(**{**given, "network": network})


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 2**31


def _is_environ(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(text, str) for pair in value.items() for text in pair
    )


def _fits(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "network": (f"one of {', '.join(Network)}", lambda value: value in list(Network)),
    "network_name": ("the name of a network", lambda value: isinstance(value, str)),
    "memory_mb": ("a whole number of MB", lambda value: type(value) is int and _is_number(value)),
    "cpus": ("a number above 0", _is_number),
    "output_mb": ("a whole number of MB", lambda value: type(value) is int and _is_number(value)),
    "user": ("uid:gid", _fits(_USER)),
    "owner": ("a short name of a-z, 0-9 and -", _fits(_OWNER)),
    "environ": ("variables and their values, all text", _is_environ),
    "allow_without_debug": ("True or False", lambda value: isinstance(value, bool)),
}
