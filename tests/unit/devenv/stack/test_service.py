"""Restart pauses, and steps that are not repeated."""

from pathlib import Path

from devenv.stack.service import Once, Restart


def test_pauses_between_restarts_double_up_to_the_ceiling() -> None:
    restart = Restart(first=0.5, ceiling=3.0)

    assert [restart.delay(deaths) for deaths in (1, 2, 3, 4, 50)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_step_is_done_until_its_key_changes(tmp_path: Path) -> None:
    keys = ["first"]
    once = Once(tmp_path / "step.done", lambda: keys[-1])
    assert not once.is_done()

    once.mark_done()
    assert once.is_done()

    keys.append("second")
    assert not once.is_done()
