"""What becomes of pooled connections when the database server has gone."""

from typing import Any

from django.db import connection
from psycopg import Connection, Error


def check(one: Connection[Any]) -> None:
    """Refuse a broken connection, and with it all others that broke at the same moment.

    The pool by itself tries one dead connection after the other, waits twice as long each time and
    gives up before it has come to a living one. Raises psycopg.Error.
    """
    try:
        one.execute("")  # Django's pooled connections are in autocommit mode
    except Error:
        connection.pool.check()  # type: ignore[attr-defined]  # the stubs lack it
        raise
