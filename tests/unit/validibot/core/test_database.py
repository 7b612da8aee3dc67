"""A pool whose server has gone."""

from unittest.mock import Mock

import psycopg
import pytest

from validibot.core import database


def test_a_broken_connection_has_all_others_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    django = Mock()
    monkeypatch.setattr(database, "connection", django)
    broken = Mock()
    broken.execute.side_effect = psycopg.OperationalError

    with pytest.raises(psycopg.OperationalError):
        database.check(broken)

    django.pool.check.assert_called_once_with()


def test_a_living_connection_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    django = Mock()
    monkeypatch.setattr(database, "connection", django)

    database.check(Mock())

    django.pool.check.assert_not_called()
