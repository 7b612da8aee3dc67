"""Pooled connections after their server has gone."""

import os
from collections.abc import Iterator
from unittest.mock import Mock

import psycopg
import pytest

from validibot.core import health


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Stands for a connection's socket: what is written to the second end can be read."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Mock:
    django = Mock()
    monkeypatch.setattr(health, "connection", django)
    checked: Mock = django.pool.check
    return checked


def _connection(pipe: tuple[int, int]) -> Mock:
    return Mock(**{"fileno.return_value": pipe[0]})


def test_silent_connection_is_not_tried(pool: Mock, pipe: tuple[int, int]) -> None:
    silent = _connection(pipe)

    health.check_connection(silent)

    silent.execute.assert_not_called()
    pool.assert_not_called()


def test_broken_connection_has_all_others_checked(pool: Mock, pipe: tuple[int, int]) -> None:
    broken = _connection(pipe)
    broken.execute.side_effect = psycopg.OperationalError
    os.write(pipe[1], b"the server said good-bye")

    with pytest.raises(psycopg.OperationalError):
        health.check_connection(broken)

    pool.assert_called_once_with()


def test_living_connection_with_a_notice_passes(pool: Mock, pipe: tuple[int, int]) -> None:
    living = _connection(pipe)
    os.write(pipe[1], b"a notice")

    health.check_connection(living)

    living.execute.assert_called_once_with("")
    pool.assert_not_called()
