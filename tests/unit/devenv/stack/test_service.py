"""Unit tests of services as data: pauses, steps, order of start and stop."""

from pathlib import Path

import pytest

from devenv.stack.problems import StackError
from devenv.stack.service import Once, Restart, StackService, start_levels, stop_levels


def service(name: str, *needs: str) -> StackService:
    return StackService(name=name, command=("true",), environ=dict, needs=needs)


STACK = [service("web", "setup"), service("setup", "postgres", "gcp"), service("postgres")]
STACK += [service("gcp"), service("mail")]


def test_restart_pauses_double_up_to_ceiling() -> None:
    restart = Restart(first=0.5, ceiling=3.0)

    assert [restart.delay(ends) for ends in (1, 2, 3, 4, 50)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_step_is_due_again_when_key_changes(tmp_path: Path) -> None:
    keys = ["first"]
    once = Once(tmp_path / "step.done", lambda: keys[-1])
    assert not once.is_done()

    once.mark_done()
    assert once.is_done()

    keys.append("second")
    assert not once.is_done()


def test_start_levels_put_needs_first() -> None:
    assert start_levels(STACK) == [["gcp", "mail", "postgres"], ["setup"], ["web"]]


def test_stop_levels_put_dependents_first() -> None:
    assert stop_levels(STACK) == [["mail", "web"], ["setup"], ["gcp", "postgres"]]


def test_circular_needs_are_refused_by_name() -> None:
    with pytest.raises(StackError, match=r"Services need each other: . → . → "):
        start_levels([service("a", "b"), service("b", "a")])


def test_unknown_need_is_refused_by_name() -> None:
    with pytest.raises(StackError, match="web needs redis, which is not a service"):
        start_levels([service("web", "redis")])
