"""Health of pooled database connections, and objects from statements of our own."""

import select
from collections.abc import Iterator
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model
from psycopg import Connection, Error


def check(one: Connection[Any]) -> None:
    """Refuse a broken connection, and check all others if it is one. Raises psycopg.Error.

    A server that ends or is ended closes its connections, so that their sockets can be read; only
    then is the connection tried. Trying each one that is taken would cost a round trip per request.

    The pool by itself tries one dead connection after the other, waits twice as long each time and
    gives up before it finds a living one; so all are checked at once.
    """
    socket = select.poll()
    socket.register(one.fileno(), select.POLLIN | select.POLLHUP)
    if not socket.poll(0):
        return
    try:
        one.execute("")  # Django's pooled connections are in autocommit mode
    except Error:
        connection.pool.check()  # type: ignore[attr-defined]  # the stubs lack it
        raise


class ModelColumns[M: Model]:
    """All columns of a model in a statement of our own, and the objects that are made of them.

    For the few statements that are executed so often that it matters how long Django writes them:
    with many columns and joins that takes it longer than PostgreSQL takes to answer.
    """

    def __init__(self, model: type[M], alias: str) -> None:
        self._model = model
        fields = model._meta.concrete_fields  # noqa: SLF001
        self._names = [field.attname for field in fields]
        self._converters = [getattr(field, "from_db_value", None) for field in fields]
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in fields)

    def read(self, values: Iterator[Any]) -> M:
        """Return the object of the next columns of a row."""
        row = [
            convert(next(values), None, connection) if convert else next(values)
            for convert in self._converters
        ]
        return self._model.from_db(DEFAULT_DB_ALIAS, self._names, row)
