"""Client addresses, and limits on how often one address may fail.

Counts live in Django's cache: with the default cache each process counts for itself, which is
enough to slow down guessing. A limit that must hold across instances (the launch quota) is counted
in the database instead.
"""

import time
from dataclasses import dataclass
from ipaddress import ip_address

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest


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
    """At most `count` failures in `seconds` for one key, in fixed windows."""

    name: str
    count: int
    seconds: int

    def exceeded_after(self, key: str) -> int:
        """Count a failure of `key`; return the seconds to wait once there are too many, else 0."""
        now = int(time.time())
        window = now // self.seconds
        entry = f"throttle:{self.name}:{window}:{key}"
        cache.add(entry, 0, self.seconds)
        try:
            failures = cache.incr(entry)
        except ValueError:  # the entry expired between the two calls
            failures = 1
        return (window + 1) * self.seconds - now if failures > self.count else 0
