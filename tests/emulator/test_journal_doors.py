"""Every door of the emulated cloud leaves exactly one correct row in the journal for each call."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.cloud import storage, tasks_v2
from google.oauth2 import service_account

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.gcp.rpc.grpc_server import MESSAGE_LIMIT
from tests.emulator.doors import Doors
from tests.emulator.target import working

QueueRequest = tasks_v2.GetQueueRequest.pb()

PROJECT = "projects/test-project"
FORM = {"content-type": "application/x-www-form-urlencoded"}
PLACE = f"{PROJECT}/locations/us-west1"
DOMAIN = "@test-project.iam.gserviceaccount.com"
APP = f"app{DOMAIN}"
JSON = "storage.googleapis.com/storage/v1/b"


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with (
        Cloud(OPEN_PROJECT) as cloud,
        working() as worker,
        httpx.Client(trust_env=False) as client,
    ):
        doors = Doors(cloud, worker, client)
        account = {"accountId": "nobody"}
        doors.http("POST", f"iam.googleapis.com/v1/{PROJECT}/serviceAccounts", body=account)
        address = f"iam.googleapis.com/v1/{PROJECT}/serviceAccounts/{APP}/keys"
        made = doors.http("POST", address, body={}).json()
        doors.key = json.loads(base64.b64decode(made["privateKeyData"]))
        doors.http("POST", f"{JSON}?project=test-project", body={"name": "bucket"})
        doors.http(
            "POST",
            "storage.googleapis.com/upload/storage/v1/b/bucket/o?uploadType=media&name=o",
            content=b"data",
        )
        doors.http(
            "POST",
            f"cloudtasks.googleapis.com/v2/{PLACE}/queues",
            body={"name": f"{PLACE}/queues/q"},
        )
        pubsub = f"pubsub.googleapis.com/v1/{PROJECT}"
        doors.http("PUT", f"{pubsub}/topics/topic", body={})
        push = {
            "topic": f"{PROJECT}/topics/topic",
            "pushConfig": {"pushEndpoint": f"{worker.url}/push"},
        }
        doors.http("PUT", f"{pubsub}/subscriptions/pushed", body=push)
        doors.see(6)
        yield doors
        cloud.restart()  # at the end of which no call goes on any more
        assert doors.rows() == []


type Act = Callable[[Doors], object]


def signed_get(doors: Doors) -> None:
    credentials = service_account.Credentials.from_service_account_info(doors.key)  # type: ignore[no-untyped-call]
    blob = storage.Client("test-project", credentials).bucket("bucket").blob("o")
    url = httpx.URL(blob.generate_signed_url(version="v4", expiration=600))
    doors.http("GET", f"storage.googleapis.com{url.raw_path.decode()}", account="")


def exchange_assertion(doors: Doors) -> None:
    now = int(time.time())
    claims = {
        "iss": APP,
        "aud": "https://oauth2.googleapis.com/token",
        "iat": now,
        "exp": now + 600,
    }
    claims["scope"] = "https://www.googleapis.com/auth/cloud-platform"
    signer = RSASigner.from_service_account_info(doors.key)  # type: ignore[no-untyped-call]
    assertion = jwt.encode(signer, claims).decode()  # type: ignore[no-untyped-call]
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    doors.http(
        "POST",
        "oauth2.googleapis.com/token",
        account="",
        content=f"grant_type={grant}&assertion={assertion}".encode(),
        headers=FORM,
    )


def downscope(doors: Doors) -> None:
    rule = {"availableResource": "//storage.googleapis.com/projects/_/buckets/bucket"}
    rule["availablePermissions"] = ["inRole:roles/storage.objectViewer"]  # type: ignore[assignment]
    options = {"accessBoundary": {"accessBoundaryRules": [rule]}}
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": doors.cloud.access_token("app"),
        "options": json.dumps(options),
    }
    content = urlencode(form).encode()
    doors.http("POST", "sts.googleapis.com/v1/token", account="", content=content, headers=FORM)


def create_task(doors: Doors) -> None:
    token = {"serviceAccountEmail": APP}
    request = {"url": f"{doors.worker.url}/task", "oidcToken": token}
    address = f"cloudtasks.googleapis.com/v2/{PLACE}/queues/q/tasks"
    doors.http("POST", address, body={"task": {"httpRequest": request}})


def run_schedule(doors: Doors) -> None:
    address = f"cloudscheduler.googleapis.com/v1/{PLACE}/jobs"
    name = f"{PLACE}/jobs/j"
    target = {"uri": f"{doors.worker.url}/tick"}
    body = {"name": name, "schedule": "0 0 1 1 *", "httpTarget": target}
    doors.http("POST", address, body=body)
    doors.http("POST", f"cloudscheduler.googleapis.com/v1/{name}:run", body={})


def publish(doors: Doors) -> None:
    address = f"pubsub.googleapis.com/v1/{PROJECT}/topics/topic:publish"
    doors.http("POST", address, body={"messages": [{"data": "YQ=="}]})


def call(verb: str, address: str, **options: Any) -> Act:
    return lambda doors: doors.http(verb, address, **options)


def grpc_call(method: str, request: bytes = b"", token: str = "") -> Act:
    return lambda doors: doors.grpc(
        f"google.cloud.tasks.v2.CloudTasks/{method}", request, token=token
    )


def metadata(path: str, **headers: str) -> Act:
    return lambda doors: doors.metadata(f"/computeMetadata/v1{path}", **headers)


def control(verb: str, path: str, body: Any = None, token: str = "") -> Act:
    return lambda doors: doors.control(verb, path, body, token=token)


QUEUE = f"{PLACE}/queues/q"
QUEUE_AT = f"cloudtasks.googleapis.com/v2/{QUEUE}"
QUEUES_AT = f"cloudtasks.googleapis.com/v2/{PLACE}/queues"
NAMED = QueueRequest(name=QUEUE).SerializeToString()
OBJECT = f"{JSON}/bucket/o/o"
XML = "storage.googleapis.com/bucket/o"
INGRESS = "nothing-1.us-west1.run.app/x"
CERTS = "www.googleapis.com/oauth2/v3/certs"
TRACES = "telemetry.googleapis.com/v1/traces"
PAGE = "evil.example/storage/v1/b"
GZIP = {"content-encoding": "gzip"}
PARTS = {"content-type": "multipart/mixed; boundary=b"}
BATCH = (
    b"--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\n"
    b"GET /storage/v1/b/bucket/o/o HTTP/1.1\r\n\r\n\r\n--b--\r\n"
)
FLAVOR = {"Metadata-Flavor": "Google"}
GET_QUEUE, CREATE_QUEUE = "tasks.CloudTasks.GetQueue", "tasks.CloudTasks.CreateQueue"
GET_OBJECT = "storage.objects.get"
READ = f"{GET_OBJECT} allowed"
# A call, and its rows: method, caller, resource, permission and decision, status.
CASES: dict[str, tuple[Act, list[str]]] = {
    "gRPC": (
        grpc_call("GetQueue", NAMED),
        [f"{GET_QUEUE} app {QUEUE} cloudtasks.queues.get allowed OK"],
    ),
    "gRPC, no message": (
        grpc_call("GetQueue", b"\xff"),
        [f"{GET_QUEUE} app - - refused INVALID_ARGUMENT"],
    ),
    "gRPC, too large": (
        grpc_call("GetQueue", bytes(MESSAGE_LIMIT + 1)),
        [f"{GET_QUEUE} app - - refused RESOURCE_EXHAUSTED"],
    ),
    "gRPC, bad token": (
        grpc_call("GetQueue", token="x"),
        [f"{GET_QUEUE} - - - unauthenticated UNAUTHENTICATED"],
    ),
    "gRPC, unknown": (
        grpc_call("Nothing"),
        ["tasks.CloudTasks.Nothing - - - unknown UNIMPLEMENTED"],
    ),
    "HTTP/2, no gRPC": (
        lambda doors: doors.http2("/page"),
        ["GET_/page - localhost/page - refused 415"],
    ),
    "proxy, other host": (
        lambda doors: doors.proxy("GET http://other.example/page?q=1 HTTP/1.1"),
        ["GET_/page - other.example/page - refused 503"],
    ),
    "proxy, other host by TLS": (
        lambda doors: doors.proxy("CONNECT other.example:443 HTTP/1.1"),
        ["CONNECT_other.example:443 - other.example:443 - refused 503"],
    ),
    "proxy, no URL": (
        lambda doors: doors.proxy("GET /page HTTP/1.1"),
        ["GET_/page - /page - refused 400"],
    ),
    "REST": (
        call("GET", QUEUE_AT),
        [f"{GET_QUEUE} app {QUEUE} cloudtasks.queues.get allowed OK"],
    ),
    "REST, denied": (
        call("GET", QUEUE_AT, account="nobody"),
        [f"{GET_QUEUE} nobody {QUEUE} cloudtasks.queues.get denied PERMISSION_DENIED"],
    ),
    "REST, no token": (
        call("GET", QUEUE_AT, account=""),
        [f"{GET_QUEUE} - - - unauthenticated UNAUTHENTICATED"],
    ),
    "REST, no JSON": (
        call("POST", QUEUES_AT, content=b"{"),
        [f"{CREATE_QUEUE} app - - refused INVALID_ARGUMENT"],
    ),
    "REST, no gzip": (
        call("POST", QUEUES_AT, content=b"x", headers=GZIP),
        [f"{CREATE_QUEUE} app - - refused INVALID_ARGUMENT"],
    ),
    "REST, too many parameters": (
        call("GET", f"{QUEUE_AT}?{'a=b&' * 1001}"),
        [f"{GET_QUEUE} app - - refused INVALID_ARGUMENT"],
    ),
    "REST, unknown": (
        call("GET", "bigquery.googleapis.com/bigquery/v2/projects"),
        ["bigquery_GET_/bigquery/v2/projects - - - unknown UNIMPLEMENTED"],
    ),
    "JSON API": (call("GET", OBJECT), [f"{GET_OBJECT} app {OBJECT} {READ} 200"]),
    "JSON API, denied": (
        call("GET", OBJECT, account="nobody"),
        [f"{GET_OBJECT} nobody {OBJECT} {GET_OBJECT} denied 403"],
    ),
    "XML API": (call("GET", XML), [f"{GET_OBJECT} app {XML} {READ} 200"]),
    "XML API, anonymous": (
        call("GET", XML, account=""),
        [f"{GET_OBJECT} - {XML} {GET_OBJECT} denied 403"],
    ),
    "signed URL": (signed_get, [f"{GET_OBJECT} app {XML} {READ} 200"]),
    "batch": (
        call("POST", "storage.googleapis.com/batch/storage/v1", content=BATCH, headers=PARTS),
        [
            f"{GET_OBJECT} app {OBJECT} {READ} 200",
            "storage.batch.send app storage.googleapis.com/batch/storage/v1 - open 200",
        ],
    ),
    "token endpoint": (
        exchange_assertion,
        ["oauth2.token app oauth2.googleapis.com/token - open 200"],
    ),
    "token endpoint, bad": (
        call("POST", "oauth2.googleapis.com/token", account="", content=b"x"),
        ["oauth2.token - oauth2.googleapis.com/token - refused 400"],
    ),
    "STS": (
        downscope,
        ["sts.token app sts.googleapis.com/v1/token - open 200"],
    ),
    "certificates": (call("GET", CERTS, account=""), [f"oauth2.certs - {CERTS} - open 200"]),
    "ingress, unknown": (call("GET", INGRESS), [f"run.invoke app {INGRESS} - refused 404"]),
    "OTLP": (
        call("POST", TRACES, body={}),
        [f"opentelemetry.TraceService.Export app {TRACES} telemetry.traces.write allowed 200"],
    ),
    "metadata": (
        metadata("/project/project-id", **FLAVOR),
        ["metadata.get app /computeMetadata/v1/project/project-id - open 200"],
    ),
    "metadata, no flavor": (
        metadata("/instance/service-accounts/default/token"),
        [
            "metadata.token - /computeMetadata/v1/instance/service-accounts/default/token - refused 403"
        ],
    ),
    "metadata, host": (
        metadata("/", host="evil.example"),
        ["metadata.get - /computeMetadata/v1/ - refused 403"],
    ),
    "metadata, unknown": (
        metadata("/none", **FLAVOR),
        ["metadata.get app /computeMetadata/v1/none - refused 404"],
    ),
    "task": (
        create_task,
        [
            f"tasks.CloudTasks.CreateTask app {QUEUE} cloudtasks.tasks.create allowed OK",
            "deliver app WORKER/task - open 200",
        ],
    ),
    "schedule": (
        run_schedule,
        [
            f"scheduler.CloudScheduler.CreateJob app {PLACE} cloudscheduler.jobs.create allowed OK",
            f"scheduler.CloudScheduler.RunJob app {PLACE}/jobs/j cloudscheduler.jobs.run allowed OK",
            "deliver - WORKER/tick - open 200",
        ],
    ),
    "push": (
        publish,
        [
            f"pubsub.Publisher.Publish app {PROJECT}/topics/topic pubsub.topics.publish allowed OK",
            "deliver - WORKER/push - open 200",
        ],
    ),
    "control API": (
        control("POST", "clock", {"advance": "1s"}),
        ["devenv.clock.insert console /_devenv/clock - open 200"],
    ),
    "control API, bad": (
        control("POST", "faults", {}),
        ["devenv.faults.insert console /_devenv/faults - refused 400"],
    ),
    "control API, bad token": (
        control("GET", "faults", token="x"),
        ["devenv.faults.get - /_devenv/faults - refused 403"],
    ),
    "console": (
        lambda doors: doors.http("POST", f"{QUEUE_AT}:purge", token=doors.cloud.control_token),
        [f"tasks.CloudTasks.PurgeQueue console {QUEUE} - open OK"],
    ),
    "page of another site": (
        call("GET", PAGE),
        [f"GET_/storage/v1/b - {PAGE} - refused 403"],
    ),
}


@pytest.mark.parametrize("door", CASES)
def test_each_call_leaves_one_row(doors: Doors, door: str) -> None:
    act, expected = CASES[door]
    act(doors)

    rows = doors.see(len(expected))

    assert sorted(shown(row, doors.worker.url) for row in rows) == sorted(expected)


def shown(row: dict[str, Any], worker: str) -> str:
    """Return a row as CASES have it."""
    names = ("method", "caller", "resource", "permission", "decision", "status")
    texts = [str(row[name]).replace(" ", "_").removesuffix(DOMAIN) or "-" for name in names]
    return " ".join(texts).replace(worker, "WORKER")
