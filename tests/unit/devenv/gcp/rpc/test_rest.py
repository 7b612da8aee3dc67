"""One method as REST: paths, parameters, bodies, answers and errors."""

import asyncio
import gzip
from typing import Any

import pytest
from google.cloud import run_v2, tasks_v2
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo

from devenv.gcp.caller import ApiCall
from devenv.gcp.errors import FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.hosts import services_of
from devenv.gcp.rpc.rest import RestApp, fill, gunzipped
from tests.unit.devenv.gcp.fakes import Everybody, MemoryJournal, no_faults
from tests.unit.devenv.gcp.web import Web

QUEUE = "projects/p/locations/l/queues/q"
JOB = "projects/p/locations/l/jobs/j"


class Desk:
    """Notes every request and answers with `answer`, or raises it."""

    def __init__(self) -> None:
        self.request: Message
        self.answer: Message | Exception = run_v2.Job.pb()()

    async def handle(self, request: Message, call: ApiCall) -> Message:
        self.request = request
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def web(desk: Desk) -> Web:
    job = run_v2.Job.pb()

    def rpc(method: str, request: type[Message], *bindings: HttpRule) -> Rpc:
        return Rpc(f"google.cloud.run.v2.{method}", request, job, desk.handle, bindings)

    name = "/v2/{name=projects/*/locations/*/jobs/*}"
    queue = "/v2/{queue.name=projects/*/locations/*/queues/*}"
    rpcs = (
        rpc("Jobs/GetJob", run_v2.GetJobRequest.pb(), HttpRule("GET", name)),
        rpc("Jobs/RunJob", run_v2.RunJobRequest.pb(), HttpRule("POST", f"{name}:run", "*")),
        rpc("Jobs/Odd", run_v2.DeleteJobRequest.pb(), HttpRule("POST", name, "*")),
        rpc("Jobs/Update", tasks_v2.UpdateQueueRequest.pb(), HttpRule("PATCH", queue, "queue")),
        rpc("Jobs/Replace", tasks_v2.UpdateQueueRequest.pb(), HttpRule("PUT", queue, "*")),
        rpc(
            "Jobs/ListJobs",
            run_v2.ListJobsRequest.pb(),
            HttpRule("GET", "/v2/{parent=projects/*/locations/*}/jobs"),
        ),
    )
    return Web(RestApp(rpcs, Calls(Everybody(), MemoryJournal(), no_faults())))


def test_path_fills_field(web: Web, desk: Desk) -> None:
    web.get(f"/v2/{JOB}")

    assert desk.request == run_v2.GetJobRequest.pb()(name=JOB)


def test_verb_is_no_part_of_name(web: Web, desk: Desk) -> None:
    web.post(f"/v2/{JOB}:run", json={"overrides": {"taskCount": 2}})

    assert desk.request == run_v2.RunJobRequest.pb()(name=JOB, overrides={"task_count": 2})


def test_body_fills_one_field_and_path_nested_one(web: Web, desk: Desk) -> None:
    web.request("PATCH", f"/v2/{QUEUE}", json={"rateLimits": {"maxConcurrentDispatches": 3}})

    queue = tasks_v2.Queue(name=QUEUE, rate_limits={"max_concurrent_dispatches": 3})
    assert desk.request == tasks_v2.UpdateQueueRequest.pb()(queue=tasks_v2.Queue.pb(queue))


def test_query_parameters_fill_fields_in_both_spellings(web: Web, desk: Desk) -> None:
    web.get("/v2/projects/p/locations/l/jobs?pageSize=5&page_token=t&showDeleted=true")

    expected = {"parent": "projects/p/locations/l", "page_size": 5, "page_token": "t"}
    assert desk.request == run_v2.ListJobsRequest.pb()(**expected, show_deleted=True)


def test_query_parameters_may_be_nested_or_repeated(web: Web, desk: Desk) -> None:
    query = "updateMask=rate_limits,name&queue.retryConfig.maxAttempts=7&queue.state=PAUSED"
    web.request("PATCH", f"/v2/{QUEUE}?{query}", json={})

    assert desk.request.update_mask.paths == ["rate_limits", "name"]
    assert desk.request.queue.retry_config.max_attempts == 7
    assert desk.request.queue.state == tasks_v2.Queue.State.PAUSED


def test_body_has_masks_in_both_spellings(web: Web, desk: Desk) -> None:
    for mask in ("rate_limits,retryConfig.max_attempts", "rateLimits,retryConfig.maxAttempts"):
        web.request("PUT", f"/v2/{QUEUE}", json={"updateMask": mask})
        assert desk.request.update_mask.paths == ["rate_limits", "retry_config.max_attempts"]
    wrong = web.request("PUT", f"/v2/{QUEUE}", json={"updateMask": 1})
    assert wrong.status_code == 400


def test_system_parameters_are_ignored(web: Web, desk: Desk) -> None:
    assert web.get(f"/v2/{JOB}?$alt=json&prettyPrint=false&key=x").is_success


@pytest.mark.parametrize(("alt", "stage"), [("json", "GA"), ("json;enum-encoding=int", 4)])
def test_enums_are_names_unless_numbers_are_requested(
    web: Web, desk: Desk, alt: str, stage: object
) -> None:
    desk.answer = run_v2.Job.pb()(name=JOB, launch_stage=4)

    answer = web.get(f"/v2/{JOB}", params={"$alt": alt})
    assert answer.json() == {"name": JOB, "launchStage": stage}


@pytest.mark.parametrize(
    ("query", "sent", "name"),
    [
        ("", {"unheard": 1}, "unheard"),
        ("unheard=1", {}, "unheard"),
        ("unheard.of=1", {}, "unheard"),
    ],
)
def test_unknown_field_or_parameter_is_refused_by_name(
    web: Web, query: str, sent: dict[str, object], name: str
) -> None:
    answer = web.post(f"/v2/{JOB}:run?{query}", json=sent)

    assert answer.status_code == 400
    assert f'Unknown name "{name}"' in answer.json()["error"]["message"]


def test_error_has_google_envelope_and_details(web: Web, desk: Desk) -> None:
    desk.answer = FailedPrecondition("Not now.", (ErrorInfo(reason="BUSY", domain="d"),))

    answer = web.get(f"/v2/{JOB}")
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": 400,
        "message": "Not now.",
        "status": "FAILED_PRECONDITION",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "BUSY", "domain": "d"}
        ],
    }


def test_errors_have_a_list_with_alt_json_in_older_apis(desk: Desk) -> None:
    def rpc(method: str, uri: str) -> Rpc:
        request, job = run_v2.GetJobRequest.pb(), run_v2.Job.pb()
        return Rpc(method, request, job, desk.handle, (HttpRule("GET", uri),))

    rpcs = (
        rpc("google.pubsub.v1.Publisher/GetTopic", "/v1/{name=topics/*}"),
        rpc("google.cloud.run.v2.Jobs/GetJob", "/v2/{name=jobs/*}"),
    )
    web = Web(RestApp(rpcs, Calls(Everybody(), MemoryJournal(), no_faults())))
    text = "Resource not found (resource=t)."
    desk.answer = NotFound(text)

    def errors(url: str) -> Any:
        return web.get(url).json()["error"].get("errors")

    assert errors("https://pubsub.googleapis.com/v1/topics/t?alt=json") == [
        {"message": text, "domain": "global", "reason": "notFound"}
    ]
    assert errors("/v1/topics/t?alt=json")
    assert errors("https://pubsub.googleapis.com/v1/topics/t") is None
    assert errors("https://run.googleapis.com/v2/jobs/j?alt=json") is None


@pytest.mark.parametrize(
    "content",
    [b"[", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"overrides":1}', b"x" * (11 << 20)],
    ids=["open", "list", "number", "binary", "deep", "wrong type", "long"],
)
def test_invalid_body_returns_400(web: Web, content: bytes) -> None:
    answer = web.post(f"/v2/{JOB}:run", content=content)

    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("query", ["pageSize=x", "showDeleted=maybe", "a=1&" * 1001])
def test_invalid_parameter_returns_400(web: Web, query: str) -> None:
    assert web.get(f"/v2/projects/p/locations/l/jobs?{query}").status_code == 400


@pytest.mark.parametrize(
    ("verb", "path"),
    [("GET", "/v2/nowhere"), ("DELETE", f"/v2/{JOB}"), ("BREW", "/"), ("GET", "/v2/projects//x")],
)
def test_unknown_path_returns_404(web: Web, verb: str, path: str) -> None:
    answer = web.request(verb, path)

    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("run.googleapis.com", 200),
        ("run.googleapis.com:443", 200),
        ("us-west1-run.googleapis.com", 200),
        ("run.us-west1.rep.googleapis.com", 200),
        ("run-mine.p.googleapis.com", 200),
        ("127.0.0.1:4588", 200),
        ("host.docker.internal", 200),
        ("cloudtasks.googleapis.com", 404),
        ("spanner.googleapis.com", 404),
    ],
)
def test_method_is_found_at_the_hosts_of_its_service(web: Web, host: str, status: int) -> None:
    assert web.get(f"/v2/{JOB}", headers={"host": host}).status_code == status


def test_method_without_a_host_is_refused(web: Web) -> None:
    with pytest.raises(LookupError, match=r"google\.cloud\.nowhere\.v1\.A/B has no host"):
        services_of("google.cloud.nowhere.v1.A/B")


def test_unexpected_error_returns_500_without_details(
    web: Web, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.answer = RuntimeError("secret")

    answer = web.get(f"/v2/{JOB}")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "Internal error encountered."
    assert "secret" in caplog.text


@pytest.mark.parametrize("text", ["", "Pj8-Pw==", "Pj8+Pw", "Pj8-Pw"])
def test_bytes_are_taken_in_both_alphabets(text: str) -> None:
    task = tasks_v2.Task.pb()()
    fill(task, {"httpRequest": {"url": "http://a/", "body": text}, "name": None})
    assert task.http_request.body == (b">?>?" if text else b"")


def test_bytes_that_are_no_base64_are_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        fill(tasks_v2.Task.pb()(), {"http_request": {"body": "%%%"}})
    assert caught.value.message == (
        "Invalid value at 'http_request.body' (TYPE_BYTES), Base64 decoding failed for \"%%%\""
    )


def test_gzip_body_is_expanded_in_small_pieces() -> None:
    sent = [{"type": "http.request", "body": gzip.compress(bytes(3 << 20)), "more_body": False}]

    async def receive() -> dict[str, Any]:
        return sent.pop()

    async def sizes() -> list[int]:
        expand = gunzipped({"headers": [(b"content-encoding", b"gzip")]}, receive)
        pieces = [await expand()]
        while pieces[-1]["more_body"]:
            pieces.append(await expand())
        return [len(piece["body"]) for piece in pieces]

    found = asyncio.run(sizes())
    assert (max(found), sum(found)) == (1 << 20, 3 << 20)
