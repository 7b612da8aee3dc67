"""JSON bodies of the public API, read as pydantic models; and refusals of services as problems."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.exceptions import ValidationError as Refusal
from django.http import HttpRequest
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from rest_framework.request import Request

from validibot.core.asgi import length_in
from validibot.core.echo import WrittenNumber, echo
from validibot.core.problems import ApiError

MAX_BODY_BYTES = 64 * 1024


class Body(BaseModel):
    """A JSON body: members that it does not declare are refused."""

    model_config = ConfigDict(extra="forbid")


def read_body[B: Body](request: Request, kind: type[B], *, limit: int = MAX_BODY_BYTES) -> B:
    """Return the request's JSON body; values of other types than declared are refused.

    Raises ApiError that names each field at fault.
    """
    django_request = request._request  # noqa: SLF001 - REST framework's parsers would read it first
    kind_of_body = django_request.content_type or ""
    if kind_of_body != "application/json":
        detail = f"The body has the type {echo(kind_of_body)}. Send application/json."
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", detail)
    content = read_bounded(django_request, limit)
    if content is None:
        detail = f"The body may have {limit:,} bytes. Send less."
        errors = [{"field": "body", "message": detail}]
        raise ApiError(413, "PAYLOAD_TOO_LARGE", detail, errors=errors)
    try:
        return kind.model_validate_json(content, strict=True)
    except ValidationError as error:
        errors = [_fault(each, content) for each in error.errors(include_url=False)[:20]]
        detail = f"`{errors[0]['field']}`: {errors[0]['message']}."
        raise ApiError(400, "INVALID", detail, errors=errors) from error


def read_bounded(request: HttpRequest, limit: int) -> bytes | None:
    """Return the body, or None if it has more than `limit` bytes; one that says so is not read."""
    if length_in(request.META.get("CONTENT_LENGTH") or "") > limit:
        return None
    content = request.read(limit + 1)
    return content if len(content) <= limit else None


def _fault(fault: ErrorDetails, content: bytes) -> dict[str, str]:
    """Return the field at fault, and what is wrong with its value."""
    message = fault["msg"]
    if fault["loc"] and fault["type"] != "missing":
        message = f"{message}, not {echo(_written(fault, content))}"
    return {"field": ".".join(map(str, fault["loc"])) or "body", "message": message}


def _written(fault: ErrorDetails, content: bytes) -> Any:
    """Return the value at fault with its numbers as they were written; as it was read at worst."""
    with suppress(ValueError, RecursionError, LookupError, TypeError):
        value = json.loads(content, parse_float=WrittenNumber, parse_int=WrittenNumber)
        for step in fault["loc"]:
            value = value[step]
        return value
    return fault["input"]


@contextmanager
def refusals() -> Iterator[None]:
    """Answer 400 with what a service refuses."""
    try:
        yield
    except Refusal as error:
        fields = error.message_dict if hasattr(error, "error_dict") else {}
        errors = [{"field": name, "message": texts[0]} for name, texts in fields.items()]
        raise ApiError(400, "INVALID", error.messages[0], errors=errors) from error
