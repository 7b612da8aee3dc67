"""Deliveries of Cloud Tasks, Cloud Scheduler and Pub/Sub: request, answer, token and backoff.

The services share these rules; their requests leave through one `Send`, messages by `Topics`.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote, urlsplit

from google.rpc import code_pb2, status_pb2

from devenv.gcp.caller import ApiCaller, Guard, Minter
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.messages import every

# Of a HttpRequest (Tasks) and of a HttpTarget (Scheduler).
HTTP_TARGET_FIELDS = every(
    *("url", "uri", "http_method", "headers", "body"),
    oauth_token=every("service_account_email", "scope"),
    oidc_token=every("service_account_email", "audience"),
)
MAX_URL = 2083
MAX_HEADERS = 80 * 1024

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_RESERVED = ("x-google-", "x-appengine-", "x-cloudtasks-", "x-cloudscheduler")
_COMPUTED = {"host", "content-length", "user-agent", "transfer-encoding", "connection"}

_CODES = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    409: code_pb2.ABORTED,
    429: code_pb2.RESOURCE_EXHAUSTED,
    499: code_pb2.CANCELLED,
    500: code_pb2.INTERNAL,
    501: code_pb2.UNIMPLEMENTED,
    503: code_pb2.UNAVAILABLE,
    504: code_pb2.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """An HTTP request to a target; `deadline` is the time for the whole exchange, in seconds."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    deadline: float


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """The answer of a target; header names are lower-cased, a long body is cut."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class DeliveryFailed(Exception):
    """Raised when the target cannot be reached or breaks off before it has answered."""


Send: TypeAlias = Callable[[DeliveryRequest], Awaitable[DeliveryAnswer]]
"""Sends a request. Raises NoAnswer, or TimeoutError after the request's deadline."""


Ready: TypeAlias = Callable[[str], Awaitable[None]]
"""Returns when the target at a URL has started, or is not expected to any more."""


async def always_ready(_url: str) -> None:
    """Expect every target to run already."""


class Topics(Protocol):
    """The topics of Pub/Sub, as other services use them."""

    def has(self, topic: str) -> bool:
        """Return whether the topic of a full name exists."""
        ...

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish a message of a service whose own account may do so. Raises CloudError."""
        ...


def failure(http: int) -> status_pb2.Status:
    """Return the status of an attempt that ended with this HTTP status."""
    code = _CODES.get(http, code_pb2.UNKNOWN)
    name = code_pb2.Code.Name(code)
    return status_pb2.Status(code=code, message=f"{name}({code}): HTTP status code {http}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Backoff between attempts, in seconds."""

    least: float
    most: float
    doublings: int

    def pause(self, retry: int) -> float:
        """Return the pause before the retry number `retry`, counted from 1.

        It doubles `doublings` times, then grows by the last doubled pause, up to `most`; see
        max_doublings in google.cloud.tasks.v2.RetryConfig.
        """
        doubled = min(retry - 1, self.doublings, 64)  # 2**64 times anything is past every cap
        step = self.least * 2.0**doubled
        return min(step * max(1, retry - doubled), self.most)


def method_of(target: Any) -> str:
    """Return the name of the method of a HttpRequest (Tasks) or HttpTarget (Scheduler)."""
    if not target.http_method:
        return "POST"
    known = target.DESCRIPTOR.fields_by_name["http_method"].enum_type.values_by_number
    if target.http_method not in known:
        raise InvalidArgument(f"Invalid HTTP method: {target.http_method}.")
    return str(known[target.http_method].name)


def check_body(target: Any) -> None:
    """Refuse a body with a method that has none."""
    method = method_of(target)
    if target.body and method not in ("POST", "PUT", "PATCH"):
        raise InvalidArgument(f"A request body is not allowed with the HTTP method {method}.")


def clean_url(url: str, *, empty: str) -> str:
    """Return `url` with unsafe characters encoded. Raises InvalidArgument, `empty` for none."""
    if not url:
        raise InvalidArgument(empty)
    if not url.startswith(("http://", "https://")):
        raise InvalidArgument("HttpTarget.url must start with 'http://' or 'https://'.")
    encoded = quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    if len(encoded) > MAX_URL:
        raise InvalidArgument(f"HttpTarget.url must not be longer than {MAX_URL} characters.")
    try:
        parts = urlsplit(encoded)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise InvalidArgument("HttpTarget.url is not a valid URL.")
    return encoded


def clean_headers(headers: Iterable[tuple[str, str]], agent: str) -> dict[str, str]:
    """Return a caller's headers in their casing, without those that only Google sets."""
    kept = {"User-Agent": agent}
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidArgument(f"The HTTP header {name[:100]!r} is not valid.")
        lower = name.lower()
        if lower not in _COMPUTED and not lower.startswith(_RESERVED):
            kept[name] = value
    if size >= MAX_HEADERS:
        raise InvalidArgument("The size of the headers must be less than 80KB.")
    return kept


def signer(target: Any) -> str:
    """Return the account whose token the target asks for, or an empty string."""
    kind = target.WhichOneof("authorization_header")
    return str(getattr(target, kind).service_account_email) if kind else ""


def check_signer(
    target: Any, caller: ApiCaller, *, guard: Guard, minter: Minter, project: str
) -> None:
    """Refuse an unknown account, and a caller who may not act as it."""
    if not target.WhichOneof("authorization_header"):
        return
    email = signer(target)
    if not minter.knows(email):
        raise NotFound(f"Service account {email[:200]} does not exist.")
    guard.require(
        caller, "iam.serviceAccounts.actAs", f"projects/{project}/serviceAccounts/{email}"
    )


def signed_headers(target: Any, url: str, minter: Minter) -> dict[str, str]:
    """Return the target's headers with a fresh token, if it asks for one.

    An OIDC token's audience is the URL unless the target names another.
    """
    kind = target.WhichOneof("authorization_header")
    if not kind:
        return dict(target.headers)
    if kind == "oidc_token":
        token = minter.id_token(signer(target), target.oidc_token.audience or url)
    else:
        scope = target.oauth_token.scope
        token = minter.access_token(signer(target), scopes=(scope,) if scope else ())
    headers = {k: v for k, v in target.headers.items() if k.lower() != "authorization"}
    headers["Authorization"] = f"Bearer {token}"
    return headers
