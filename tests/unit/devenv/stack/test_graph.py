"""The order of start and stop."""

import pytest

from devenv.stack.errors import StackError
from devenv.stack.graph import start_levels, stop_levels
from devenv.stack.service import Service


def service(name: str, *needs: str) -> Service:
    return Service(name=name, command=("true",), environ=dict, needs=needs)


STACK = [service("web", "setup"), service("setup", "postgres", "gcp"), service("postgres")]
STACK += [service("gcp"), service("mail")]


def test_what_is_needed_starts_first() -> None:
    assert start_levels(STACK) == [["gcp", "mail", "postgres"], ["setup"], ["web"]]


def test_what_nothing_needs_stops_first() -> None:
    assert stop_levels(STACK) == [["mail", "web"], ["setup"], ["gcp", "postgres"]]


def test_a_circle_is_refused_by_name() -> None:
    with pytest.raises(StackError, match=r"Services wait for each other: . → . → "):
        start_levels([service("a", "b"), service("b", "a")])


def test_an_unknown_need_is_refused_by_name() -> None:
    with pytest.raises(StackError, match="web needs redis"):
        start_levels([service("web", "redis")])
