"""Every writing operation of the API with values that no client means, from the OpenAPI document."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from tests.policy_world import PolicyWorld
from validibot.accounts import api_keys
from validibot.api.openapi import DeclaredOperations
from validibot.core.problems import MEDIA_TYPE

pytestmark = pytest.mark.django_db

# NUL, text that is turned around, what cannot be seen, and an umlaut of two characters.
TRICK = "a\0\u202e\u200bu\u0308"
# A value that is wrong for every field. The last four may make the body nothing that can be read.
BAD_VALUES = {
    "wrong type": '{"a": [1]}',
    "wrong kind": "[[true]]",
    "long": json.dumps("x" * 5000),
    "trick": json.dumps(TRICK),
    "exponent": "1e999",
    "surrogate": r'"a\ud800"',
    "digits": "9" * 5000,
    "deep": "[" * 5000 + "]" * 5000,
}
# A sentence of ours, with a few values of the caller.
MOST_CHARACTERS = 600
_UNREADABLE = ("exponent", "surrogate", "digits", "deep")
_BODIES = (b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"a":' * 2000)
# Any bytes are the file of a launch; a text is what its first fields take.
_LAUNCHES = ("start_run", "start_run_of_version")


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """A writing operation of the OpenAPI document, with the path to an object of the world."""

    name: str
    method: str
    template: str
    path: str
    fields: frozenset[str]
    required: frozenset[str]
    parameters: frozenset[str]
    answers: frozenset[str]


class BadCaller:
    """An owner's key, whose requests leave nothing behind."""

    def __init__(self, world: PolicyWorld) -> None:
        self.client = Client(raise_request_exception=False)
        _, key = api_keys.issue(world.owner, "test")
        self.headers = {"Authorization": f"Bearer {key}"}

    def send(
        self,
        operation: ApiOperation,
        body: bytes = b"",
        path: str = "",
        kind: str = "application/json",
        **headers: str,
    ) -> Any:
        with transaction.atomic():
            answer = self.client.generic(
                operation.method,
                path or operation.path,
                body,
                kind,
                headers=self.headers | {name.replace("_", "-"): headers[name] for name in headers},
            )
            transaction.set_rollback(True)
        return answer


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def writing_operations(world: PolicyWorld) -> Iterator[ApiOperation]:
    document = DeclaredOperations().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    ids = world.ids | {"org": "acme", "workflow": world.workflow, "version": 1}
    ids |= {name: world.ids[f"{name}s"] for name in ("run", "webhook", "schedule", "key")}
    ids["delivery"] = world.ids["deliveries"]
    for template, methods in document["paths"].items():
        for method, declared in methods.items():
            if method == "get":
                continue
            mine = {"key": world.owner.api_keys.get().pk} if "/me/" in template else {}
            content = declared.get("requestBody", {}).get("content", {})
            place = content.get("application/json", {}).get("schema", {}).get("$ref", "/")
            schema = document["components"]["schemas"].get(place.rpartition("/")[2], {})
            given = declared.get("parameters", [])
            yield ApiOperation(
                name=declared["operationId"],
                method=method.upper(),
                template=template,
                path=template.format_map(ids | mine),
                fields=frozenset(schema.get("properties", ())),
                required=frozenset(schema.get("required", ())),
                parameters=frozenset(each["name"] for each in given if each["in"] == "query"),
                answers=frozenset(declared["responses"]),
            )


def fault(operation: ApiOperation, label: str, answer: Any, named: frozenset[str]) -> str:
    """Return what is wrong with an answer: it must be a problem that names one of the fields."""
    status, kind = answer.status_code, answer.headers.get("Content-Type", "")
    if 400 <= status < 500 and kind == MEDIA_TYPE and str(status) in operation.answers:
        problem = answer.json()
        if label == "exponent" and "inf" in str(problem).split("'"):
            return f"{operation.name} shows an infinite number: {problem}"
        if len(problem["detail"]) > MOST_CHARACTERS:
            return f"{operation.name} repeats too much of {label}: {problem['detail']}"
        fields = {each["field"].split(".")[0] for each in problem.get("errors", ())}
        # An answer that something is not found names it in its sentence, and one about a header.
        is_told = any(name in problem["detail"] for name in named if status == 404 or "-" in name)
        if fields & named or is_told or not named:
            return ""
        return f"{operation.name} names {fields} for {label}: {answer.content[:300]}"
    return f"{operation.name} answers {status} as {kind} to {label}: {answer.content[:300]}"


def body_faults(caller: BadCaller, operation: ApiOperation) -> Iterator[str]:
    """Yield what is wrong with the answers to bodies."""
    # A body that is no JSON is the fault of no field; a workflow file has a line instead.
    anywhere = operation.fields | {"body", ""}
    for label, value in BAD_VALUES.items():
        members = ", ".join(f'"{name}": {value}' for name in sorted(operation.fields))
        named = anywhere if label in _UNREADABLE else operation.fields
        answer = caller.send(operation, f"{{{members}}}".encode())
        yield fault(operation, label, answer, named)
    if operation.name not in _LAUNCHES:
        for body in _BODIES:
            yield fault(operation, repr(body[:20]), caller.send(operation, body), frozenset())
        unknown = caller.send(operation, b'{"nothing": 1}')
        yield fault(operation, "an unknown member", unknown, operation.required | {"nothing"})


def launch_faults(caller: BadCaller, operation: ApiOperation) -> Iterator[str]:
    """Yield what is wrong with the answers to headers and to forms with a file, as browsers send them."""
    key = caller.send(operation, b"{}", Idempotency_Key="k" * 5000)
    yield fault(operation, "its key", key, frozenset({"Idempotency-Key"}))
    for name in ("x" * 5000, "..", "\u00ff\u00fe"):
        answer = caller.send(operation, b"{}", kind="text/plain", X_Filename=name)
        yield fault(operation, f"X-Filename {name[:9]}", answer, frozenset({"filename", "file"}))
    texts = ("filename", "name", "short_description", "metadata", "weather", "scenario")
    for field, text in product(texts, (TRICK, "x" * 5000)):
        form = {field: text, "file": SimpleUploadedFile("a.json", b"{}")}
        answer = caller.send(operation, encode_multipart(BOUNDARY, form), kind=MULTIPART_CONTENT)
        yield fault(operation, f"a form with {field} {text[:5]!r}", answer, frozenset({field}))
    for file in (b"", b"--", b"--%s\r\n" % BOUNDARY.encode(), encode_multipart(BOUNDARY, {})):
        answer = caller.send(operation, file, kind=MULTIPART_CONTENT)
        yield fault(operation, f"the form {file[:20]!r}", answer, frozenset({"file", "body"}))


def address_faults(caller: BadCaller, operation: ApiOperation) -> Iterator[str]:
    """Yield what is wrong with the answers to queries and paths."""
    for name in [*sorted(operation.parameters), "nothing"]:
        for value in (TRICK, "9" * 5000):
            answer = caller.send(operation, path=f"{operation.path}?{name}={quote(value)}")
            yield fault(operation, f"?{name}", answer, frozenset({name}))
    # Everything in the path but the last id is right.
    start, brace, _ = operation.template.rpartition("{")
    if brace:
        right = operation.path.split("/")
        place = start.count("/")
        for value in (TRICK, "9" * 19, "9" * 5000):
            right[place] = quote(value)
            answer = caller.send(operation, path="/".join(right))
            yield fault(operation, "its path", answer, frozenset())


def test_no_writing_operation_fails_at_bad_values_or_names_no_field() -> None:
    world = PolicyWorld()
    caller = BadCaller(world)
    operations = list(writing_operations(world))
    wrong = [
        found
        for operation in operations
        for checks in (
            body_faults if operation.fields else None,
            launch_faults if operation.name in _LAUNCHES else None,
            address_faults,
        )
        if checks
        for found in checks(caller, operation)
        if found
    ]

    assert len(operations) > 25  # the walk finds them
    assert "\n".join(wrong) == ""
