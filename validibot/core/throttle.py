"""Client addresses, and limits on how often somebody may fail or ask.

Counts are in the database, so all instances share a limit. allauth's own limits on sign-in are shared
as well: they use Django's cache, which `settings.CACHES` keeps in the database.
"""

import datetime as dt
import math
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

# Keys whose block of requests a process remembers.
MAX_BLOCKS = 10_000
# One statement, so that nothing is lost when several instances count at once.
_COUNT = """
INSERT INTO {table} AS old (key, count, expires_at) VALUES (%(key)s, %(add)s, %(end)s)
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN old.expires_at <= %(now)s THEN %(add)s ELSE old.count + %(add)s END,
    expires_at = CASE WHEN old.expires_at <= %(now)s THEN %(end)s ELSE old.expires_at END
RETURNING count, expires_at
"""


def client_address(request: HttpRequest) -> str:
    """Return the IP address of the client.

    `X-Forwarded-For` counts only as far as our own proxies wrote it: TRUSTED_PROXY_COUNT entries
    from the right. Anything else in it is the client's claim and is ignored.
    """
    direct = str(request.META.get("REMOTE_ADDR") or "")
    count = settings.TRUSTED_PROXY_COUNT
    entries = request.headers.get("X-Forwarded-For", "").split(",")
    if not 0 < count <= len(entries):
        return direct
    try:
        return str(ip_address(entries[-count].strip()))
    except ValueError:
        return direct


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """At most `count` failures of one key in the `seconds` after its first one."""

    name: str
    count: int
    seconds: int

    def exceeded_after(self, key: str) -> int:
        """Count a failure of `key`; return the seconds to wait once there are too many, else 0."""
        failures, end = _count("core_failurecount", f"{self.name}:{key}", self.seconds)
        left = math.ceil((end - timezone.now()).total_seconds())
        return left if failures > self.count else 0


@dataclass(frozen=True, slots=True)
class RequestUsage:
    """Requests of one key in the current window: the limit, how many are left, seconds to its end."""

    limit: int
    remaining: int
    reset_seconds: int
    is_exceeded: bool = False


@dataclass(slots=True)
class _RequestBlock:
    """Requests that this process has counted in the database, by number: `next` to `last`."""

    next: int
    last: int
    end: dt.datetime


class RequestLimit:
    """At most `count` requests of one key in the `seconds` after its first one.

    A process counts a hundredth of the limit at once in the database and spends it in memory, so that
    few requests cost a query; `remaining` is exact to so many requests of each other instance.
    """

    def __init__(self, name: str, *, count: int, seconds: int) -> None:
        self.name = name
        self.count = count
        self.seconds = seconds
        self._block_size = max(1, count // 100)
        self._blocks: dict[str, _RequestBlock] = {}
        self._lock = threading.Lock()

    def use(self, key: str) -> RequestUsage:
        """Count a request of `key` and return what is left."""
        now = timezone.now()
        with self._lock:
            block = self._blocks.get(key)
            if block and block.next <= block.last and block.end > now:
                number, end = block.next, block.end
                block.next += 1
                return self._usage(number, end)
        size = self._block_size
        last, end = _count("core_requestcount", f"{self.name}:{key}", self.seconds, add=size)
        with self._lock:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            self._blocks[key] = _RequestBlock(last - size + 2, last, end)
        return self._usage(last - size + 1, end)

    def _usage(self, number: int, end: dt.datetime) -> RequestUsage:
        seconds = math.ceil((end - timezone.now()).total_seconds())
        return RequestUsage(self.count, max(0, self.count - number), seconds, number > self.count)


def _count(table: str, key: str, seconds: int, *, add: int = 1) -> tuple[int, dt.datetime]:
    """Add to the count of `key`; return the count and when it begins anew."""
    now = timezone.now()
    values: dict[str, Any] = {
        "key": key[:200],
        "now": now,
        "end": now + dt.timedelta(seconds=seconds),
        "add": add,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(table=table), values)
        row: tuple[int, dt.datetime] = cursor.fetchone()
    return row
