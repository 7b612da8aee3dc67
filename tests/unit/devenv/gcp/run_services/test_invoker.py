"""The invoker check of private services, and the headers that a container gets."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st

from devenv.gcp.run_services.invoker import InvocationRefused, Invoker, is_for
from devenv.gcp.run_services.routing import ServedHost
from tests.unit.devenv.gcp.fakes import FakeGuard

URL = "https://worker-123456789012.us-west1.run.app"
NAME = "projects/p/locations/us-west1/services/worker"
SERVICE = ServedHost(NAME, (URL, "custom"), lambda: None)
GOOD = b"Bearer head.claims.signature"


def claims(token: str) -> Mapping[str, Any] | None:
    return {"email": "tasks@p", "aud": URL} if token == "head.claims.signature" else None


def invoker(*, strip_signature: bool = False) -> Invoker:
    return Invoker(guard=FakeGuard(), claims=claims, strip_signature=strip_signature)


def test_authorization_header_is_forwarded_unchanged() -> None:
    assert invoker().admit(SERVICE, "/", [(b"authorization", GOOD)]) == [(b"authorization", GOOD)]


def test_strip_signature_hides_signature() -> None:
    admitted = invoker(strip_signature=True).admit(SERVICE, "/", [(b"Authorization", GOOD)])
    assert admitted == [(b"Authorization", b"Bearer head.claims.SIGNATURE_REMOVED_BY_GOOGLE")]


def test_x_serverless_authorization_is_checked_and_stripped() -> None:
    sent = [(b"authorization", b"Bearer mine.is.bad"), (b"x-serverless-authorization", GOOD)]
    assert invoker().admit(SERVICE, "/", sent) == [
        (b"authorization", b"Bearer mine.is.bad"),
        (b"x-serverless-authorization", b"Bearer head.claims.SIGNATURE_REMOVED_BY_GOOGLE"),
    ]


def test_service_without_invoker_check_is_open() -> None:
    open_to_all = ServedHost(NAME, (URL,), lambda: None, is_open=True)
    assert invoker().admit(open_to_all, "/", []) == []


def test_custom_audience_is_accepted() -> None:
    custom = Invoker(guard=FakeGuard(), claims=lambda _: {"email": "tasks@p", "aud": "custom"})
    assert custom.admit(SERVICE, "/", [(b"authorization", GOOD)])


def test_invalid_x_serverless_token_returns_401() -> None:
    sent = [(b"authorization", GOOD), (b"x-serverless-authorization", b"Bearer no")]
    with pytest.raises(InvocationRefused) as refused:
        invoker().admit(SERVICE, "/", sent)
    assert refused.value.page.status == 401


@given(st.binary(max_size=200))
def test_random_token_is_refused_with_401(value: bytes) -> None:
    with pytest.raises(InvocationRefused) as refused:
        invoker().admit(SERVICE, "/", [(b"authorization", value)])
    assert refused.value.page.status == 401


@pytest.mark.parametrize(
    ("audience", "good"),
    [
        (URL, True),
        (f"{URL}/", True),
        (f"{URL}/internal/tasks/?a=1", True),
        (f"{URL}?a=1", True),
        (f"{URL}.example", False),
        (f"{URL}:443", False),
        (URL.replace("https", "http"), False),
        ("", False),
    ],
)
def test_audience_is_service_url_with_or_without_path(audience: str, good: bool) -> None:
    assert is_for(audience, URL) is good
