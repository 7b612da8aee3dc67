"""Client addresses, and limits on how often one address may fail.

Failures are counted in the database, so all instances share a limit. allauth's own limits on sign-in
are shared as well: they use Django's cache, which `settings.CACHES` keeps in the database.
"""

import datetime as dt
import math
from dataclasses import dataclass
from ipaddress import ip_address

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

# One statement, so that no failure is lost when several instances count at once.
_COUNT = """
INSERT INTO core_failurecount AS old (key, count, expires_at) VALUES (%(key)s, 1, %(end)s)
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN old.expires_at <= %(now)s THEN 1 ELSE old.count + 1 END,
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
        now = timezone.now()
        entry = f"{self.name}:{key}"[:200]
        end = now + dt.timedelta(seconds=self.seconds)
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, {"key": entry, "now": now, "end": end})
            failures, end = cursor.fetchone()
        return math.ceil((end - now).total_seconds()) if failures > self.count else 0
