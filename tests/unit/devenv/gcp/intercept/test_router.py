"""The router of HTTP requests."""

import logging

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from devenv.gcp.intercept.router import Hosts, Router, SiteCheck
from devenv.gcp.rpc import HttpMount
from tests.unit.devenv.gcp.fakes import MemoryJournal, no_faults
from tests.unit.devenv.gcp.web import Web


class Named:
    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(self._name)(scope, receive, send)


MOUNTS = (
    HttpMount(("www.googleapis.com",), Named("certs"), ("/oauth2/",)),
    HttpMount(("storage.googleapis.com",), Named("storage"), ("/storage/",), takes_rest=True),
    HttpMount(("www.googleapis.com",), Named("storage"), ("/storage/",)),
    HttpMount(("*.run.app",), Named("ingress"), takes_rest=True),
)


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def web(journal: MemoryJournal) -> Web:
    return Web(
        Router(
            MOUNTS,
            Named("rest"),
            control=Named("control"),
            journal=journal,
            faults=no_faults(),
            who=lambda header: header,
        )
    )


@pytest.fixture
def guarded() -> Web:
    emulated = Hosts(()).emulated
    return Web(
        SiteCheck(Named("through"), journal=MemoryJournal(), emulated=emulated, names=("gcp",))
    )


@pytest.mark.parametrize(
    ("host", "path", "answer"),
    [
        ("www.googleapis.com", "/oauth2/v1/certs", "certs"),
        ("www.googleapis.com", "/storage/v1/b", "storage"),
        ("storage.googleapis.com", "/bucket/object", "storage"),
        ("storage.googleapis.com:443", "/", "storage"),
        ("storage.mtls.googleapis.com", "/storage/v1/b", "storage"),
        ("storage.us-west1.rep.googleapis.com:443", "/bucket/object", "storage"),
        ("storage-mine.p.googleapis.com", "/storage/v1/b", "storage"),
        ("x-1.us-west1.run.app", "/_devenv/health", "ingress"),
        ("run.googleapis.com", "/v2/projects", "rest"),
        ("run.googleapis.com", "/storage/v1/b", "rest"),
        ("www.googleapis.com", "/drive/v3/files", "rest"),
        ("localhost:4588", "/oauth2/v1/certs", "certs"),
        ("localhost:4588", "/storage/v1/b", "storage"),
        ("localhost:4588", "/v2/projects", "rest"),
        ("localhost:4588", "/_devenv/health", "control"),
    ],
)
def test_request_is_routed_by_host_and_path(web: Web, host: str, path: str, answer: str) -> None:
    assert web.get(path, headers={"host": host}).text == answer


def test_request_is_logged_with_its_caller(
    web: Web, journal: MemoryJournal, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "devenv.gcp.requests"):
        web.get("/oauth2/v1/certs", headers={"host": "www.googleapis.com", "authorization": "me"})
        journal.flush()

    assert caplog.messages[0].startswith("GET /oauth2/v1/certs me 200 ")


@pytest.mark.parametrize(
    "header",
    [{"traceparent": f"00-{'ab' * 16}-1-01"}, {"x-cloud-trace-context": f"{'ab' * 16}/1;o=1"}],
)
def test_request_joins_the_trace_of_its_header(
    web: Web, journal: MemoryJournal, header: dict[str, str]
) -> None:
    web.get("/storage/v1/b", headers={"host": "storage.googleapis.com", **header})
    assert [row["trace"] for row in journal.rows({})] == ["ab" * 16]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "evil.example"}, "Host 'evil.example'"),
        ({"host": "localhost.evil.example:4588"}, "Host"),
        ({"host": "localhost:4588", "origin": "https://evil.example"}, "Origin"),
        ({"host": "localhost:4588", "origin": "null"}, "Origin 'null'"),
        ({"host": "localhost:4588", "origin": "http://["}, "Origin 'http://['"),
        ({"host": "gcp:4588", "origin": "http://gcp.evil.example"}, "Origin"),
    ],
)
@pytest.mark.parametrize("path", ["/storage/v1/b", "/v2/projects", "/_devenv/journal"])
def test_foreign_host_or_origin_is_refused(
    guarded: Web, headers: dict[str, str], reason: str, path: str
) -> None:
    answer = guarded.get(path, headers=headers)

    assert answer.status_code == 403
    assert reason in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:4588", "origin": "http://localhost:8000"},
        {"host": "[::1]:4588", "origin": "http://127.0.0.1:3000"},
        {"host": "gcp:4588"},
        {"host": "localhost:4588", "origin": "https://web-1.us-west1.run.app"},
        {"host": "storage.googleapis.com", "origin": "https://shop.example"},
    ],
)
def test_pages_of_this_machine_and_its_cloud_are_answered(
    guarded: Web, headers: dict[str, str]
) -> None:
    assert guarded.get("/storage/v1/b", headers=headers).text == "through"
