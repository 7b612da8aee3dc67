"""Health of pooled database connections."""

import select
from typing import Any

from django.db import connection
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
