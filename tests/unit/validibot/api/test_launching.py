"""Launches: the three forms of a body, idempotency keys, and refusals."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from pytest_django import Settings

from tests.unit.validibot.api.conftest import Api
from validibot.credits import ledger
from validibot.runs.models import Run
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.workflows.models import Validator, Workflow

GOOD = b'{"name": "Ada", "age": 36}'
RUNS = "orgs/acme/workflows/people/runs/"

pytestmark = pytest.mark.django_db(transaction=True)


def _upload(content: bytes = GOOD, name: str = "a.json", kind: str = "text/xml") -> Any:
    return SimpleUploadedFile(name, content, kind)


def test_raw_body_starts_a_run(alice: Api, people: Workflow) -> None:
    answer = alice.launch(GOOD, "ada.json")

    assert answer.status_code == 201
    run = answer.json()
    assert (run["state"], run["result"], run["filename"]) == ("COMPLETED", "PASS", "ada.json")
    assert answer.headers["Location"] == run["url"]


def test_json_envelope_starts_a_run(alice: Api, people: Workflow) -> None:
    envelope = {
        "content": base64.b64encode(GOOD).decode(),
        "content_encoding": "base64",
        "filename": "ada.json",
        "name": "first",
        "metadata": {"floor": "2"},
    }
    run = alice.post(RUNS, json.dumps(envelope), "application/json").json()

    assert (run["result"], run["name"], run["metadata"]) == ("PASS", "first", {"floor": "2"})


def test_plain_json_body_is_the_file(alice: Api, people: Workflow) -> None:
    run = alice.post(RUNS, GOOD, "application/json").json()

    assert (run["result"], run["filename"]) == ("PASS", "submission.json")


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "", "text/html"])
def test_type_of_unnamed_content_is_detected(alice: Api, people: Workflow, kind: str) -> None:
    raw = alice.post(RUNS, GOOD, kind or "application/x-www-form-urlencoded").json()
    envelope = {"content": GOOD.decode(), "content_type": kind}
    wrapped = alice.post(RUNS, json.dumps(envelope), "application/json").json()

    assert (raw["result"], raw["filename"]) == ("PASS", "submission.json")
    assert (wrapped["result"], wrapped["filename"]) == ("PASS", "submission.json")


def test_form_starts_a_run_with_any_part_type(alice: Api, people: Workflow) -> None:
    form = {"file": _upload(), "metadata": '{"a": "b"}', "short_description": "hello"}
    # Names of files stand in the parts; the header is for a file that is sent as the body.
    run = alice.post(RUNS, form, **{"X-Filename": "a.xml"}).json()

    assert (run["result"], run["short_description"]) == ("PASS", "hello")


def test_invalid_data_fails_with_findings(alice: Api, people: Workflow) -> None:
    run = alice.launch(b'{"age": "old"}').json()

    assert (run["result"], run["error_category"]) == ("FAIL", "VALIDATION_FAILED")
    assert {issue["severity"] for issue in run["steps"][0]["issues"]} == {"ERROR"}
    assert "/age" in {issue["path"] for issue in run["steps"][0]["issues"]}


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"\xff\xfe\x00",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"name": NaN}',
        b'{"content": 1}',
        b'"\\ud800"',
    ],
)
def test_unreadable_document_is_a_finding(alice: Api, people: Workflow, content: bytes) -> None:
    answer = alice.launch(content)

    assert answer.status_code == 201
    assert answer.json()["result"] == "FAIL"


def test_empty_file_is_refused(alice: Api, people: Workflow) -> None:
    answer = alice.launch(b"")

    assert answer.status_code == 400
    assert answer.json()["code"] == "EMPTY_FILE"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({}, "file"),
        ({"content": "x", "metadata": "{"}, "metadata"),
        ({"content": "x", "metadata": "[1]"}, "metadata"),
        ({"content": "x", "metadata": '{"a": 1}'}, "metadata"),
        ({"content": "x", "name": "n" * 256}, "name"),
        ({"content": "x", "short_description": "n" * 256}, "short_description"),
        ({"content": "x", "filename": ".."}, "filename"),
        ({"content": "!", "content_encoding": "base64"}, "content"),
        ({"content": "x", "content_encoding": "rot13"}, "content_encoding"),
    ],
)
def test_invalid_field_is_refused_by_name(
    alice: Api, people: Workflow, form: dict[str, str], field: str
) -> None:
    answer = alice.post(RUNS, form)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
    assert Run.objects.count() == 0


@pytest.mark.parametrize("value", [[], {}, 0, False, 7])
@pytest.mark.parametrize(
    "field",
    ["short_description", "content_type", "content_encoding", "filename", "name", "scenario"],
)
def test_envelope_field_that_is_no_text_is_refused(
    alice: Api, people: Workflow, field: str, value: Any
) -> None:
    answer = alice.post(RUNS, json.dumps({"content": "x", field: value}), "application/json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("text", ['{"content": "\\ud800"}', '{"content": "x", "name": "\\u0000"}'])
def test_text_that_cannot_be_stored_is_refused(alice: Api, people: Workflow, text: str) -> None:
    assert alice.post(RUNS, text, "application/json").status_code == 400


def test_malformed_form_is_refused(alice: Api, people: Workflow) -> None:
    answer = alice.post(RUNS, b"--x\r\nnonsense", "multipart/form-data; boundary=x")

    assert answer.status_code == 400


def test_file_of_wrong_type_is_refused_by_name(alice: Api, people: Workflow) -> None:
    answer = alice.launch(GOOD, "ada.xml")

    assert answer.status_code == 400
    assert answer.json()["code"] == "FILE_TYPE_UNSUPPORTED"
    assert ".json" in answer.json()["detail"]


def test_file_over_the_limit_is_refused(alice: Api, people: Workflow, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 10

    assert alice.launch(GOOD).status_code == 413


def test_large_file_is_stored_and_read_back(alice: Api, people: Workflow) -> None:
    large = json.dumps({"name": "x" * 200_000}).encode()

    run = Run.objects.select_related("submission").get(pk=alice.launch(large).json()["id"])

    assert run.submission.inline is None
    assert run.submission.uri.startswith("file://")
    assert run.result == "PASS"


def test_launch_by_viewer_is_refused(victor: Api, people: Workflow) -> None:
    assert victor.launch(GOOD).status_code == 403


def test_run_of_another_organisation_is_not_found(
    alice: Api, charlie: Api, people: Workflow
) -> None:
    run = alice.launch(GOOD).json()

    assert charlie.get(run["url"].removeprefix("/api/v1/")).status_code == 404


def test_run_of_another_user_is_not_found_by_viewer(
    alice: Api, victor: Api, people: Workflow
) -> None:
    run = alice.launch(GOOD).json()

    assert victor.get(run["url"].removeprefix("/api/v1/")).status_code == 404
    assert victor.get("orgs/acme/runs/").json()["results"] == []


def test_inactive_workflow_answers_409(alice: Api, people: Workflow) -> None:
    Workflow.objects.update(is_active=False)

    assert alice.launch(GOOD).json()["code"] == "WORKFLOW_INACTIVE"


def test_launch_over_quota_answers_429(alice: Api, people: Workflow, settings: Settings) -> None:
    settings.LAUNCH_QUOTA = 1
    alice.launch(GOOD)
    Run.objects.update(status="RUNNING")

    answer = alice.launch(GOOD)

    assert (answer.status_code, answer.json()["code"]) == (429, "LAUNCH_QUOTA_EXCEEDED")
    assert answer.headers["Retry-After"] == "30"
    assert "1 unfinished runs" in answer.json()["detail"]


def test_inactive_validator_answers_409(alice: Api, people: Workflow) -> None:
    Validator.objects.update(is_active=False)

    assert alice.launch(GOOD).json()["code"] == "VALIDATOR_UNAVAILABLE"


def test_cancel_of_finished_run_answers_409(alice: Api, people: Workflow) -> None:
    run = alice.launch(GOOD).json()

    assert alice.post(f"{run['url'].removeprefix('/api/v1/')}cancel/").status_code == 409


def test_events_are_listed_in_order(alice: Api, people: Workflow) -> None:
    run = alice.launch(GOOD).json()
    events = alice.get(f"{run['url'].removeprefix('/api/v1/')}events/").json()["results"]

    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[-1]) == ("created", "passed")


def test_retry_with_idempotency_key_starts_one_run(alice: Api, people: Workflow) -> None:
    first = alice.post(RUNS, {"file": _upload()}, **{"Idempotency-Key": "k"})
    again = alice.post(RUNS, {"file": _upload()}, **{"Idempotency-Key": "k"})

    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Run.objects.count() == 1


def test_idempotency_key_with_other_file_is_refused(alice: Api, people: Workflow) -> None:
    alice.launch(GOOD, **{"Idempotency-Key": "k"})
    other = alice.launch(b"{}", **{"Idempotency-Key": "k"})

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("other", [GOOD, b"{}"])
def test_stored_file_of_a_replay_is_removed(
    alice: Api, people: Workflow, settings: Settings, tmp_path: Path, other: bytes
) -> None:
    settings.DATA_ROOT = tmp_path.as_uri()
    padding = b" " * content.INLINE_BYTES
    alice.launch(GOOD + padding, **{"Idempotency-Key": "k"})
    alice.launch(other + padding, **{"Idempotency-Key": "k"})

    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_long_idempotency_key_is_refused(alice: Api, people: Workflow) -> None:
    answer = alice.launch(GOOD, **{"Idempotency-Key": "k" * 256})

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_too_long")


def test_idempotency_key_with_control_character_is_refused(alice: Api, people: Workflow) -> None:
    answer = alice.launch(GOOD, **{"Idempotency-Key": "k\0"})

    assert answer.status_code == 400
    assert answer.json()["detail"] == "Idempotency-Key contains the control character U+0000."


@pytest.mark.parametrize(
    "body", [b"{", b'{"content', b'{"content": "aGV', b' {"filename": "a.json", ']
)
def test_truncated_envelope_is_refused(alice: Api, people: Workflow, body: bytes) -> None:
    answer = alice.post(RUNS, body, "application/json")

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_PAYLOAD")
    assert "begins like a JSON envelope" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers", [{}, {"X-Filename": "a.json"}], ids=["foreign member", "file name in header"]
)
def test_document_with_content_member_is_the_file(
    alice: Api, people: Workflow, headers: dict[str, str]
) -> None:
    document = {"content": "hello", "name": "Ada"} | ({} if headers else {"age": 3})

    answer = alice.post(RUNS, json.dumps(document), "application/json", **headers)

    assert answer.json()["result"] == "PASS"


def test_file_name_with_direction_control_is_refused(alice: Api, people: Workflow) -> None:
    envelope = {"content": "{}", "filename": "a\u202egpj.json"}

    answer = alice.post(RUNS, json.dumps(envelope), "application/json")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "filename")


@pytest.mark.parametrize(
    ("sent", "stored"), [("größe.json".encode(), "größe.json"), (b"gr\xf6\xdfe.json", "größe.json")]
)
def test_file_name_in_header_is_read_as_utf8(
    alice: Api, people: Workflow, sent: bytes, stored: str
) -> None:
    """Latin-1, as the older standard has it, is still understood."""
    assert alice.launch(GOOD, sent.decode("latin-1")).status_code == 201

    assert Submission.objects.get().filename == stored


@pytest.mark.parametrize(
    ("field", "value"), [("name", "a\0b"), ("filename", "a\0.json"), ("metadata", {"k": "a\0"})]
)
def test_control_character_is_named_with_its_field(
    alice: Api, people: Workflow, field: str, value: Any
) -> None:
    envelope = {"content": "{}", field: value}

    answer = alice.post(RUNS, json.dumps(envelope), "application/json")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert "contains the control character U+0000" in answer.json()["detail"]


def test_direction_controls_are_shown_escaped() -> None:
    assert Submission(filename="a\u202egpj.json").shown_filename == "a\\u202egpj.json"


def test_launch_without_enough_credits_is_402_with_balance_and_price(
    alice: Api, people: Workflow
) -> None:
    ledger.grant(people.organisation, 5)
    Validator.objects.update(price=5)
    first, second = alice.launch(GOOD), alice.launch(GOOD)

    assert (first.status_code, second.status_code) == (201, 402)
    problem = second.json()
    assert (problem["code"], problem["balance"], problem["price"]) == ("CREDITS_EXHAUSTED", 0, 5)
    assert problem["detail"].startswith("This run costs 5 credits, and Acme has 0 left.")
