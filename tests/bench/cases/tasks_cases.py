"""Cloud Tasks by Google's Python client; TASKS_EMULATOR is the address of one without TLS."""

import os
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import google.auth.transport.requests
import grpc
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.oauth2 import id_token
from google.protobuf.timestamp_pb2 import Timestamp

from tests.bench.cases.guest import GUEST, credentials
from tests.waiting import until

LOCATION = "projects/test-project/locations/us-west1"
CALLER = "app@test-project.iam.gserviceaccount.com"


class Target:
    """A server for tasks: it keeps the headers of each delivery, and answers with `statuses`."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.statuses: list[int] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                target.seen.append({name.lower(): text for name, text in self.headers.items()})
                self.send_response(target.statuses.pop(0) if target.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class Bench:
    """A client, a queue and a target."""

    def __init__(self) -> None:
        self.client = _client()
        self.target = Target()
        self.queue = f"{LOCATION}/queues/q{uuid.uuid4().hex[:12]}"
        retry = {"min_backoff": {"nanos": 100_000_000}}
        queue = {"name": self.queue, "retry_config": retry}
        self.client.create_queue(request={"parent": LOCATION, "queue": queue})

    def create(self, name: str = "", *, later: float = 0.0, **request: Any) -> Any:
        task: dict[str, Any] = {"http_request": {"url": self.target.url, **request}}
        if name:
            task["name"] = f"{self.queue}/tasks/{name}"
        if later:
            task["schedule_time"] = Timestamp(seconds=int(time.time() + later))
        return self.client.create_task(request={"parent": self.queue, "task": task})

    def grant(self, role: str) -> None:
        """Give the guest a role on the queue."""
        policy = self.client.get_iam_policy(request={"resource": self.queue})
        policy.bindings.add(role=role, members=[GUEST])
        self.client.set_iam_policy(request={"resource": self.queue, "policy": policy})

    def delivered(self, count: int = 1) -> list[dict[str, str]]:
        until(lambda: len(self.target.seen) >= count, seconds=10)
        return self.target.seen


def task_is_delivered_with_headers(bench: Bench) -> None:
    bench.create("one")
    (headers,) = bench.delivered()
    assert headers["x-cloudtasks-taskname"] == "one"
    assert headers["x-cloudtasks-queuename"] == bench.queue.rpartition("/")[2]
    assert headers["user-agent"] == "Google-Cloud-Tasks"


def google_verifies_the_token(bench: Bench) -> None:
    token = {"service_account_email": CALLER, "audience": "https://worker.example"}
    bench.create(oidc_token=token)
    (headers,) = bench.delivered()
    request = google.auth.transport.requests.Request()
    bearer = headers["authorization"].removeprefix("Bearer ")
    claims = id_token.verify_oauth2_token(  # type: ignore[no-untyped-call]
        bearer, request, "https://worker.example"
    )
    assert claims["email"] == CALLER


def failure_is_delivered_again(bench: Bench) -> None:
    bench.target.statuses = [500]
    bench.create()
    first, second = bench.delivered(2)
    assert first["x-cloudtasks-taskretrycount"] == "0"
    assert second["x-cloudtasks-taskretrycount"] == "1"
    assert second["x-cloudtasks-taskpreviousresponse"] == "500"


def duplicate_name_is_refused(bench: Bench) -> None:
    bench.create("one", later=60)
    _refused(exceptions.AlreadyExists, bench.create, "one")


def name_of_delivered_task_is_refused(bench: Bench) -> None:
    bench.create("one")
    bench.delivered()
    time.sleep(0.5)
    _refused(exceptions.AlreadyExists, bench.create, "one")


def scheduled_task_waits(bench: Bench) -> None:
    began = time.time()
    bench.create(later=2)
    bench.delivered()
    assert time.time() - began >= 1


def deleted_task_is_not_delivered(bench: Bench) -> None:
    task = bench.create("one", later=2)
    bench.client.delete_task(name=task.name)
    time.sleep(3)
    assert bench.target.seen == []


def paused_queue_holds_its_tasks(bench: Bench) -> None:
    bench.client.pause_queue(name=bench.queue)
    bench.create()
    time.sleep(1)
    assert bench.target.seen == []
    bench.client.resume_queue(name=bench.queue)
    bench.delivered()


def purge_removes_tasks(bench: Bench) -> None:
    bench.create(later=60)
    bench.client.purge_queue(name=bench.queue)
    until(lambda: not list(bench.client.list_tasks(parent=bench.queue)), seconds=5)


def task_is_run_at_once(bench: Bench) -> None:
    task = bench.create("one", later=600)
    bench.client.run_task(name=task.name)
    bench.delivered()


def tasks_are_listed_in_pages(bench: Bench) -> None:
    for number in range(3):
        bench.create(f"t{number}", later=60)
    pages = bench.client.list_tasks(request={"parent": bench.queue, "page_size": 2}).pages
    assert [len(page.tasks) for page in pages] == [2, 1]


def missing_queue_is_not_found(bench: Bench) -> None:
    missing = f"{LOCATION}/queues/missing"
    _refused(exceptions.NotFound, bench.client.get_queue, name=missing)
    _refused(exceptions.NotFound, bench.client.pause_queue, name=missing)


def queue_is_changed(bench: Bench) -> None:
    changed = {"name": bench.queue, "rate_limits": {"max_dispatches_per_second": 5}}
    bench.client.update_queue(request={"queue": changed})
    assert bench.client.get_queue(name=bench.queue).rate_limits.max_dispatches_per_second == 5


def rest_answers_like_grpc(bench: Bench) -> None:
    address = os.environ.get("TASKS_EMULATOR", "")  # noqa: TID251 - as above
    options = {"api_endpoint": f"http://{address}"} if address else None
    client = tasks_v2.CloudTasksClient(transport="rest", client_options=options)
    assert client.get_queue(name=bench.queue, timeout=5).name == bench.queue


def account_without_role_is_refused(bench: Bench) -> None:
    bench.client = _client(credentials())
    _refused(exceptions.PermissionDenied, bench.create)


def role_on_a_queue_admits_creation_alone(bench: Bench) -> None:
    bench.grant("roles/cloudtasks.enqueuer")
    bench.client = _client(credentials())
    bench.create()
    bench.delivered()
    _refused(exceptions.PermissionDenied, bench.client.purge_queue, name=bench.queue)


def token_of_another_account_is_refused(bench: Bench) -> None:
    bench.grant("roles/cloudtasks.enqueuer")
    bench.client = _client(credentials())
    bench.create()
    token = {"service_account_email": CALLER, "audience": "https://worker.example"}
    _refused(exceptions.PermissionDenied, bench.create, oidc_token=token)


def trace_is_passed_on(bench: Bench) -> None:
    parent = f"00-{'c' * 32}-{'d' * 16}-01"
    bench.create(headers={"traceparent": parent})
    (headers,) = bench.delivered()
    assert headers["traceparent"] == parent


def task_is_given_up_after_its_attempts(bench: Bench) -> None:
    limit = {"max_attempts": 2, "min_backoff": {"nanos": 100_000_000}}
    queue = {"name": bench.queue, "retry_config": limit}
    bench.client.update_queue(request={"queue": queue})
    bench.target.statuses = [500] * 5
    bench.create()
    bench.delivered(2)
    time.sleep(1)
    assert len(bench.delivered(2)) == 2
    assert not list(bench.client.list_tasks(request={"parent": bench.queue}))


def queue_overrides_its_tasks(bench: Bench) -> None:
    header = {"header": {"key": "X-Kind", "value": "queue"}}
    target = {"header_overrides": [header]}
    bench.client.update_queue(request={"queue": {"name": bench.queue, "http_target": target}})
    bench.create(headers={"X-Kind": "task"})
    (headers,) = bench.delivered()
    assert headers["x-kind"] == "queue"


type Case = Callable[[Bench], object]

CASES: tuple[Case, ...] = (
    *(task_is_delivered_with_headers, google_verifies_the_token, failure_is_delivered_again),
    *(duplicate_name_is_refused, name_of_delivered_task_is_refused, scheduled_task_waits),
    *(deleted_task_is_not_delivered, paused_queue_holds_its_tasks, purge_removes_tasks),
    *(task_is_run_at_once, tasks_are_listed_in_pages, missing_queue_is_not_found),
    *(queue_is_changed, rest_answers_like_grpc, account_without_role_is_refused),
    *(role_on_a_queue_admits_creation_alone, token_of_another_account_is_refused),
    *(trace_is_passed_on, task_is_given_up_after_its_attempts, queue_overrides_its_tasks),
)


def attempt(case: Case) -> None:
    """Try one case on a queue of its own."""
    case(Bench())


def _client(who: Any = None) -> tasks_v2.CloudTasksClient:
    """Return a client as the account of this process, or with the credentials of another one."""
    address = os.environ.get("TASKS_EMULATOR", "")  # noqa: TID251 - a program of its own
    if not address:
        return tasks_v2.CloudTasksClient(credentials=who)
    transport = CloudTasksGrpcTransport(channel=grpc.insecure_channel(address))
    return tasks_v2.CloudTasksClient(transport=transport)


def _refused(kind: type[Exception], call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Check that a call raises an error of this kind."""
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")
