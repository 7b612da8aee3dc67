"""Every method of the emulated cloud: bad requests get an error of Google's, the journal has each call."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import Any

import httpx
import pytest
from google.protobuf.message import Message

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.gcp.errors import CloudError
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.rpc.calls import Calls, method_id
from tests.unit.devenv.gcp.garbage import RandomFields

_ROUNDS = 24
_FIELD = re.compile(r"\{([\w.]+)(?:=([^}]+))?\}")
_PLACES = {"projects": "test-project", "namespaces": "test-project", "regions": "us-west1"}
_PLACES |= {"locations": "us-west1", "billingAccounts": "012345-567890-ABCDEF"}
_PARAMETERS = {"project": "test-project", "project_id": "test-project", "region": "us-west1"}
_BODIES = (
    *(b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"name":{"a":1}}', b'{"name":null}'),
    *(b'{"name":NaN}', b'{"name":1e999}', b'{"name":"\\ud800"}', b'{"name":"\\u0000"}'),
    b'{"name":"a","name":' + b"9" * 5000 + b"}",
)
_QUERIES = ("name=x", "parent=x", "pageSize=-1", "pageToken=%00", "filter=((((", "filter=%FF")
# Methods about no one resource, and those whose path is not known here.
_WITHOUT_RESOURCE = {
    "cloudresourcemanager.Projects.ListProjects",
    "iam.IAM.ListRoles",  # the predefined ones
    "iam.IAM.UpdateServiceAccount",  # it has no path
    "iam.IAM.QueryTestablePermissions",
    "logging.ConfigServiceV2.UpdateSettings",
    "logging.LoggingServiceV2.ListLogEntries",
    "logging.LoggingServiceV2.ListMonitoredResourceDescriptors",
    "resourcemanager.Projects.ListProjects",
    "resourcemanager.Projects.SearchProjects",
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud(replace(OPEN_PROJECT, iam="off")) as cloud:
        yield cloud


def headers_of(cloud: Cloud) -> dict[str, str]:
    return {"authorization": f"Bearer {cloud.access_token('app')}"}


def methods(cloud: Cloud) -> list[Rpc]:
    return [each for each in cloud._server._services.rpcs() if isinstance(each, Rpc)]


def named(pattern: str) -> str:
    """Return a name of the form `projects/*/things/*`."""
    parts = pattern.replace("**", "*").split("/")
    return "/".join(
        each.replace("*", _PLACES.get(before, "one"))
        for before, each in zip(["", *parts], parts, strict=False)
    )


def path_of(rule: HttpRule) -> str:
    def value(found: re.Match[str]) -> str:
        field, pattern = found.groups()
        return named(pattern) if pattern and "/" in pattern else _PARAMETERS.get(field, "one")

    return _FIELD.sub(value, rule.uri).replace("*", "one")


def address(message: Any, rpc: Rpc) -> None:
    """Set the fields of the path to names of the right form."""
    for field, pattern in _FIELD.findall(rpc.bindings[0].uri if rpc.bindings else ""):
        *parents, leaf = field.split(".")
        target = message
        for parent in parents:
            target = getattr(target, parent)
        if isinstance(getattr(target, leaf), int):  # the id of a backup
            setattr(target, leaf, 1)
        elif pattern in ("", "*"):
            setattr(target, leaf, _PARAMETERS.get(leaf, "one"))
        else:
            setattr(target, leaf, named(pattern))


def test_random_message_is_never_an_internal_error(cloud: Cloud) -> None:
    """Half of the requests are addressed to resources that can exist."""
    rpcs = methods(cloud)
    names = sorted(
        {
            named(each[1])
            for rpc in rpcs
            for rule in rpc.bindings
            for each in _FIELD.findall(rule.uri)
        }
    )
    broken: dict[str, str] = {}
    headers = headers_of(cloud)

    async def send(calls: Calls, rpc: Rpc, request: Message) -> None:
        data = request.SerializeToString()
        try:
            answer = await calls.run(rpc, headers, lambda: rpc.request.FromString(data))
            answer.SerializeToString()
        except CloudError as error:
            if error.status == "INTERNAL":
                broken[rpc.method] = str(request)[:500]

    async def everything() -> None:
        server = cloud._server
        calls = Calls(server._identity, server._journal, server._faults)
        for seed in range(_ROUNDS):
            fields = RandomFields(seed, names)
            for rpc in filter(lambda each: each.has_grpc, rpcs):
                request = rpc.request()
                fields.fill(request, (0.03, 0.1, 0.5)[seed % 3])
                if seed % 2:
                    address(request, rpc)
                await send(calls, rpc, request)

    asyncio.run_coroutine_threadsafe(everything(), cloud._loop).result()
    assert broken == {}
    cloud.restart()


def test_bad_request_by_rest_is_never_an_internal_error(cloud: Cloud) -> None:
    """Bodies and queries take turns: each method gets a few of them."""
    broken: dict[str, Any] = {}
    bodies, queries = cycle(_BODIES), cycle(_QUERIES)
    options: dict[str, Any] = {"headers": headers_of(cloud), "trust_env": False}
    with httpx.Client(base_url=cloud.plain_url, **options) as client:
        for rule in (rule for rpc in methods(cloud) for rule in rpc.bindings):
            sent: list[dict[str, Any]] = [{"params": query} for query in islice(queries, 2)]
            if rule.body:
                sent += [{"content": body} for body in islice(bodies, 5)]
            for each in sent:
                answer = client.request(rule.verb, path_of(rule), **each)
                if answer.status_code >= 500 and answer.status_code != 501:
                    broken[f"{rule.verb} {rule.uri}"] = each
    assert broken == {}


def test_journal_has_caller_resource_and_status_of_every_method(cloud: Cloud) -> None:
    """The answer of most is that there is no such resource: the journal has what was asked for."""
    rpcs = methods(cloud)
    headers = headers_of(cloud)
    server = cloud._server

    async def everything() -> list[dict[str, Any]]:
        calls = Calls(server._identity, server._journal, server._faults)
        for rpc in rpcs:
            request = rpc.request()
            address(request, rpc)
            with suppress(CloudError):
                await calls.run(
                    rpc, headers, partial(rpc.request.FromString, request.SerializeToString())
                )
        return server._journal.rows({}, limit=len(rpcs))

    rows = asyncio.run_coroutine_threadsafe(everything(), cloud._loop).result()

    assert [row["method"] for row in reversed(rows)] == [method_id(rpc.method) for rpc in rpcs]
    for row in rows:
        assert row["caller"].startswith("app@")
        assert row["status"]
        assert row["at"] > 0
        assert row["resource"] or row["method"] in _WITHOUT_RESOURCE, row["method"]
