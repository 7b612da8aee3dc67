"""The OpenAPI document: schemathesis generates requests from it and checks the answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from config.wsgi import application
from tests.unit.validibot.api.conftest import Api
from validibot.api import auth
from validibot.api.openapi import DeclaredOperations
from validibot.core.throttle import FailureLimit
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db


@contextmanager
def _one_connection() -> Iterator[None]:
    """Keep the connection that holds the test's transaction, as Django's own client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


def _operations() -> list[APIOperation[Any, Any, Any, Any]]:
    document = DeclaredOperations().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    schema = schemathesis.openapi.from_dict(document)
    schema.app = application
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def _cases() -> list[tuple[APIOperation[Any, Any, Any, Any], GenerationMode]]:
    """Return the operations with right requests, and those that only read with wrong ones, too.

    Wrong requests that write are those of test_bad_values.py.
    """
    operations = _operations()
    reading = [each for each in operations if each.method == "get"]
    return [(each, GenerationMode.POSITIVE) for each in operations] + [
        (each, GenerationMode.NEGATIVE) for each in reading
    ]


def _is_undeclared(case: Case[Any]) -> bool:
    """Return whether the document cannot say if a request is right.

    It cannot declare the files that a workflow accepts, the texts of workflow files, the longest time
    between two days, the cursors that links have, and that an empty filter selects all.
    """
    query = case.query or {}
    is_special = case.method in ("POST", "PUT") or case.path.endswith("/figures/")
    return is_special or "cursor" in query or "" in query.values()


# Downloads stream for ASGI; schemathesis calls the application by WSGI.
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")
@pytest.mark.parametrize(
    ("operation", "mode"),
    _cases(),
    ids=lambda part: getattr(part, "label", getattr(part, "value", "")),
)
def test_operation_answers_as_declared(
    operation: Any,
    mode: GenerationMode,
    alice: Api,
    people: Workflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "WRONG_KEYS", FailureLimit("unlimited", count=10**6, seconds=300))
    known = {"org": "acme", "workflow": "people"}
    if "{run}" in operation.path:
        known["run"] = alice.launch(b"[]").json()["id"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=5,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.path_parameters |= {k: v for k, v in known.items() if k in case.path_parameters}
        excluded: list[Any] = [positive_data_acceptance, negative_data_rejection]
        case.call_and_validate(
            headers=alice.headers, excluded_checks=excluded if _is_undeclared(case) else []
        )

    try:
        with _one_connection():
            check()
    except Unsatisfiable:
        pytest.skip("nothing can be wrong with a request of this operation")


def test_document_answers_other_methods_with_405() -> None:
    assert Client(enforce_csrf_checks=True).post("/api/v1/schema/").status_code == 405
