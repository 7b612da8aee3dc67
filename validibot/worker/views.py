"""The doors of the private worker: the queue's, the validators' and the scheduler's."""

import logging
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from validibot.core import problems
from validibot.core.oidc import TokenRefused
from validibot.dispatch import TryLater
from validibot.dispatch.receive import BadMessage, receive as receive_task
from validibot.runs import callback, reconcile

MAX_BODY_BYTES = 64 * 1024

logger = logging.getLogger(__name__)

type Door = Callable[[HttpRequest], JsonResponse]


def guarded(*, proves_itself: bool = False) -> Callable[[Door], Door]:
    """Open a door only to allowed callers with a small body.

    `proves_itself`: what comes in carries a proof of its own, as a callback does with its nonce.
    """

    def decorate(door: Door) -> Door:
        @csrf_exempt
        @require_POST
        @wraps(door)
        def opened(request: HttpRequest) -> JsonResponse:
            try:
                import_string(settings.WORKER_AUTH)(request, proves_itself=proves_itself)
            except TokenRefused as error:
                logger.warning("refused at %s: %s", request.path, error)
                return problems.response(401, "This door opens to allowed accounts only.", "TOKEN")
            if int(request.headers.get("Content-Length") or 0) > MAX_BODY_BYTES:
                limit = f"The body is larger than {MAX_BODY_BYTES:,} bytes."
                return problems.response(413, limit, "PAYLOAD_TOO_LARGE")
            return door(request)

        return opened

    return decorate


@guarded()
def tasks(request: HttpRequest) -> JsonResponse:
    """Take a delivery of the queue: 2xx is done, 503 wants it again, 500 is a fault of ours."""
    name = request.headers.get("X-CloudTasks-TaskName", "")
    retries = request.headers.get("X-CloudTasks-TaskRetryCount", "0")
    attempt = int(retries) + 1 if retries.isdecimal() else 1
    try:
        receive_task(request.body, name=name, attempt=attempt)
    except TryLater as error:
        return problems.response(503, str(error), "TRY_LATER")
    except DatabaseError as error:
        logger.warning("the queue must deliver again: %s", error)
        return problems.response(503, "The database cannot be reached now.", "TRY_LATER")
    except BadMessage as error:
        # Delivering it again would not make it better.
        logger.error("dropped: %s", error)  # noqa: TRY400 - the sentence says it all
        return JsonResponse({"dropped": str(error)})
    return JsonResponse({"done": name})


@guarded(proves_itself=True)
def callbacks(request: HttpRequest) -> JsonResponse:
    """Take what a validator says of its end."""
    try:
        reply = callback.receive(request.body)
    except DatabaseError as error:
        logger.warning("the validator must call again: %s", error)
        return problems.response(503, "The database cannot be reached now.", "TRY_LATER")
    return JsonResponse(reply.body, status=reply.status)


@guarded()
def reconcile_runs(request: HttpRequest) -> JsonResponse:
    """Sweep up what was lost; the scheduler calls every minute."""
    return JsonResponse(reconcile.reconcile_all())
