"""Starting runs over HTTP: body modes, waiting, idempotency, and hostile input."""

import json
import threading
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

PERSON = b'{"name": "Ada"}'
RUNS = "workflows/meter-readings-schema/runs/"


def _document(stack: Stack) -> bytes:
    return stack.sample("meter-readings-schema").read_bytes()


def test_prefer_wait_returns_finished_run(stack: Stack) -> None:
    answer = stack.launch("meter-readings-schema", _document(stack), "a.json", Prefer="wait=60")

    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.json()["state"] == "COMPLETED"


@pytest.mark.parametrize("wait", [{}, {"Prefer": "wait=0"}])
def test_start_that_does_not_wait_returns_location(stack: Stack, wait: dict[str, str]) -> None:
    sample = stack.sample("fmu-decay")
    answer = stack.launch("fmu-decay", sample.read_bytes(), sample.name, **wait)

    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "5"
    followed = stack.api.get(stack.web + answer.headers["Location"]).json()
    assert followed["id"] == answer.json()["id"]
    assert stack.finished(followed["id"])["result"] == "PASS"


def test_form_and_envelope_start_runs(stack: Stack) -> None:
    text = _document(stack).decode()
    wait = {"Prefer": "wait=60"}
    form = stack.api.post(RUNS, files={"file": ("a.json", text)}, headers=wait)
    envelope = stack.api.post(RUNS, json={"content": text, "filename": "a.json"}, headers=wait)

    assert [form.json()["result"], envelope.json()["result"]] == ["PASS", "PASS"]


def test_eight_concurrent_retries_start_one_run(stack: Stack) -> None:
    key = str(uuid.uuid4())
    answers: list[httpx.Response] = []

    def post() -> None:
        answers.append(
            stack.launch(
                "meter-readings-schema", _document(stack), "a.json", **{"Idempotency-Key": key}
            )
        )

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} <= {201, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def _megabytes(count: int) -> Iterator[bytes]:
    block = b" " * (1024 * 1024)
    for _ in range(count):
        yield block


def test_too_large_upload_is_refused_declared_or_streamed(stack: Stack) -> None:
    declared = {"Content-Length": str(200 * 1024 * 1024), "X-Filename": "a.json"}
    for headers in (declared, {"X-Filename": "a.json"}):
        answer = stack.api.post(RUNS, content=_megabytes(200), headers=headers)

        assert answer.status_code == 413
        assert answer.json()["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize(
    ("slug", "filename", "content"),
    [
        ("meter-readings-schema", "a.json", b"[" * 10_000 + b"]" * 10_000),
        ("meter-readings-schema", "a.json", b"\xff\xfe"),
        (
            "equipment-list-schema",
            "a.xml",
            b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 9 + b'">]><a>&b;</a>',
        ),
        ("energyplus-small-office", "a.idf", bytes(range(256)) * 40),
        ("energyplus-small-office", "a.idf", b"!- nothing in here\n"),
        ("fmu-decay", "a.fmu", b"this is no zip"),
        ("fmu-decay", "a.fmu", b"PK\x05\x06" + b"\0" * 18),
    ],
)
def test_hostile_files_end_as_findings(
    stack: Stack, slug: str, filename: str, content: bytes
) -> None:
    answer = stack.launch(slug, content, filename, Prefer="wait=60")

    assert answer.status_code == 201
    run = answer.json()
    assert run["result"] == "FAIL", run
    issues = [issue for step in run["steps"] for issue in step["issues"]]
    assert issues
    assert "Traceback" not in json.dumps(run)


def test_run_of_another_organisation_returns_404(stack: Stack) -> None:
    run = stack.run("meter-readings-schema", stack.sample("meter-readings-schema"))
    elsewhere = f"{stack.web}/api/v1/orgs/elsewhere/runs/{run['id']}/"

    assert stack.api.get(elsewhere).status_code == 404


def test_public_service_has_no_internal_endpoints(stack: Stack) -> None:
    for door in ("tasks", "callbacks", "schedules/reconcile"):
        assert httpx.post(f"{stack.web}/internal/{door}/").status_code == 404


def test_worker_without_token_serves_nothing(stack: Stack) -> None:
    worker = stack.facts["urls"]["worker"]

    assert httpx.get(f"{worker}/app/").status_code == 404
    assert httpx.get(f"{worker}/api/v1/orgs/").status_code == 404
    for door in ("tasks", "schedules/reconcile", "callbacks"):
        assert httpx.post(f"{worker}/internal/{door}/", json={}).status_code == 401
