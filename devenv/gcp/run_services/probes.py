"""Startup probes of instances: https://cloud.google.com/run/docs/configuring/healthchecks."""

import asyncio
from contextlib import suppress

from devenv.gcp.clock import Clock
from devenv.gcp.delivery import DeliveryFailed
from devenv.gcp.forward.connection import Connection, Origin, request_head
from devenv.gcp.run_jobs.resources import Pb

_POLL_INTERVAL = 0.05


async def probe(origin: Origin, wanted: Pb, clock: Clock) -> bool:
    """Return whether a startup probe succeeds before its threshold of failures.

    A probe of one long period, as Cloud Run's default is, asks all the time.
    """
    await clock.machine_sleep(wanted.initial_delay_seconds)
    if wanted.failure_threshold == 1:
        with suppress(TimeoutError):
            async with asyncio.timeout(wanted.timeout_seconds):
                while not await _succeeds(origin, wanted):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(_POLL_INTERVAL)
                return True
        return False
    for _ in range(wanted.failure_threshold):
        began = clock.machine()
        with suppress(TimeoutError):
            async with asyncio.timeout(wanted.timeout_seconds):
                if await _succeeds(origin, wanted):
                    return True
        # The machine's clock may have been set back.
        left = began + wanted.period_seconds - clock.machine()
        await clock.machine_sleep(min(max(0.0, left), wanted.period_seconds))
    return False


async def _succeeds(origin: Origin, wanted: Pb) -> bool:
    """Return whether the port accepts a connection or, for HTTP, answers with 200 to 399."""
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(Connection, origin.host, origin.port)
    except OSError:
        return False
    try:
        if wanted.WhichOneof("probe_type") != "http_get":
            return True
        return await _is_well(connection, wanted.http_get, origin)
    finally:
        connection.abort()


async def _is_well(connection: Connection, action: Pb, origin: Origin) -> bool:
    headers = [
        (b"host", f"{origin.host}:{origin.port}".encode()),
        (b"user-agent", b"GoogleHC/1.0"),
        *((each.name.encode(), each.value.encode()) for each in action.http_headers),
    ]
    connection.begin(bodiless=False)
    connection.write(request_head("GET", action.path or "/", headers))
    try:
        return 200 <= await connection.head() < 400
    except DeliveryFailed:
        return False
