"""Waits of the tests: limits follow progress and load."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import waiting
from tests.waiting import growth, until


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass with each look at the clock, for the waits alone: not for event loops."""
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)), sleep=lambda seconds: None)
    monkeypatch.setattr(waiting, "time", clock)
    _load(monkeypatch, 0.0)


def _load(monkeypatch: pytest.MonkeyPatch, load: float) -> None:
    machine = SimpleNamespace(getloadavg=lambda: (load, load, load), cpu_count=lambda: 2)
    monkeypatch.setattr(waiting, "os", machine)


def test_until_returns_the_first_true_answer() -> None:
    answers = iter([0, [], "ready"])

    assert until(lambda: next(answers)) == "ready"


def test_until_without_an_answer_fails_with_the_last_one() -> None:
    services: dict[str, str] = {}

    with pytest.raises(AssertionError, match=r"not true within 3 s; last: KeyError\('web'\)"):
        until(lambda: services["web"], seconds=3, forgive=KeyError)


def test_until_continues_while_there_is_progress() -> None:
    asked = count()

    assert until(lambda: next(asked) > 50, seconds=3, progress=lambda: next(asked))


def test_until_waits_longer_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, 80.0)
    asked = count()

    assert until(lambda: next(asked) > 50, seconds=3)


def test_growth_sees_new_bytes_and_new_files(tmp_path: Path) -> None:
    measure = growth(tmp_path)
    seen = [measure()]
    (tmp_path / "web.log").write_text("a")
    seen.append(measure())
    (tmp_path / "web.log").write_text("ab")
    seen.append(measure())

    assert seen[0] != seen[1] != seen[2] == measure()
