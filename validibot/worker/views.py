"""Endpoints of the private worker: for the queue, for validators, for the scheduler."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from validibot.core.problems import ApiError
from validibot.dispatch.delivery import TaskDelivery, deliver, queue_account
from validibot.runs import callback
from validibot.runs.purge import DataRootShared, purge as run_purge
from validibot.runs.sweep import run_sweep
from validibot.worker.doors import door


@door
def tasks(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Take a delivery, only from the account of the queue: a validator's account may not."""
    if not caller or caller != queue_account():
        raise ApiError(403, "PERMISSION_DENIED", "Only the queue delivers tasks.")
    number = request.headers.get("X-CloudTasks-TaskRetryCount", "")
    delivery = TaskDelivery(
        body=body,
        task_id=request.headers.get("X-CloudTasks-TaskName", "")[:500],
        number=int(number) if number.isdecimal() and len(number) < 7 else 0,
    )
    result = deliver(delivery)
    return result.status, {"message": result.message}


@door
def callbacks(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Take a validator's callback; the nonce in it tells which attempt speaks."""
    reply = callback.handle(body)
    return reply.status, reply.body


@door
def capabilities(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Renew a validator's right to its attempt's folder; the nonce tells which one that is."""
    return callback.renew_capability(body)


@door
def reconcile(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Sweep, as the scheduler asks every minute; nobody else may."""
    if not caller or caller != settings.SCHEDULER_ACCOUNT:
        raise ApiError(403, "PERMISSION_DENIED", "Only the scheduler asks for a sweep.")
    return 200, dict(run_sweep())


@door
def purge(request: HttpRequest, body: bytes, caller: str) -> tuple[int, dict[str, Any]]:
    """Remove what is older than its retention, as the scheduler asks once a day."""
    if not caller or caller != settings.SCHEDULER_ACCOUNT:
        raise ApiError(403, "PERMISSION_DENIED", "Only the scheduler asks for a purge.")
    try:
        return 200, dict(run_purge())
    except DataRootShared as error:
        raise ApiError(409, "DATA_ROOT_SHARED", str(error)) from error
