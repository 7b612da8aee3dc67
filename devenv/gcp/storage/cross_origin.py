"""Requests of web pages to Cloud Storage from other origins (CORS).

Browsers ask before they send a request to another origin. Such a preflight is answered without a
token: with the rule of the bucket that names its origin, its method and every header that it wants
to send, else with no permission at all. An answer to another request from an origin that a rule
names carries that rule's headers, so that the page can read it. The JSON API allows every origin,
whatever the bucket says.

See https://cloud.google.com/storage/docs/cross-origin.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from devenv.gcp.storage.model import BucketRecord

_SIMPLE_HEADERS = ("accept", "accept-language", "content-language", "content-type")
_MAX_AGE = 3600
_REQUESTED = {
    "access-control-request-headers": "access-control-allow-headers",
    "access-control-request-method": "access-control-allow-methods",
}


def preflight(bucket: BucketRecord | None, headers: Mapping[str, str]) -> Response:
    """Answer a browser that asks what it may send."""
    origin = headers.get("origin", "")
    method = headers.get("access-control-request-method", "")
    wanted = _names(headers.get("access-control-request-headers", ""))
    for rule in _rules(bucket, origin, method):
        allowed = {*_SIMPLE_HEADERS, *(name.lower() for name in rule.get("responseHeader", []))}
        if "*" in allowed or set(wanted) <= allowed:
            answer = _allowed_origin(rule, origin) | {
                "access-control-allow-methods": ", ".join(rule.get("method", [])),
                "access-control-max-age": str(rule.get("maxAgeSeconds", _MAX_AGE)),
            }
            if wanted:
                answer["access-control-allow-headers"] = ", ".join(wanted)
            return Response(headers=answer)
    return Response()


def cross_origin_headers(
    bucket: BucketRecord | None, method: str, headers: Mapping[str, str]
) -> dict[str, str]:
    """Return what an answer to a request with an Origin says."""
    origin = headers.get("origin", "")
    for rule in _rules(bucket, origin, method):
        exposed = ", ".join(rule.get("responseHeader", []))
        shown = {"access-control-expose-headers": exposed} if exposed else {}
        return _allowed_origin(rule, origin) | shown
    return {}


def allow_any_origin(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what the JSON API answers to a request with an Origin."""
    answer = {"access-control-allow-origin": headers.get("origin", ""), "vary": "Origin"}
    for wanted, allowed in _REQUESTED.items():
        if wanted in headers:
            answer[allowed] = headers[wanted]
    return answer


def _rules(bucket: BucketRecord | None, origin: str, method: str) -> list[Mapping[str, Any]]:
    rules: Sequence[Mapping[str, Any]] = bucket.fields.get("cors", []) if bucket else []
    return [
        rule
        for rule in rules
        if {"*", origin} & set(rule.get("origin", []))
        and {"*", method} & set(rule.get("method", []))
    ]


def _allowed_origin(rule: Mapping[str, Any], origin: str) -> dict[str, str]:
    if "*" in rule["origin"]:
        return {"access-control-allow-origin": "*"}
    return {"access-control-allow-origin": origin, "vary": "Origin"}


def _names(header: str) -> list[str]:
    return [name.strip().lower() for name in header.split(",") if name.strip()]
