"""Domain mappings: what Google refuses, and what only waits for the owner's DNS."""

from dataclasses import replace
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resources.domain_mapping import DomainMapping

RECORD = {"name": "app", "type": "CNAME", "rrdata": "ghs.googlehosted.com."}


class PlayedRest:
    """Answers each call with one status of a mapping, and keeps the calls."""

    def __init__(self, reason: str, records: list[Any]) -> None:
        condition = {"type": "Ready", "status": "False", "reason": reason, "message": "Told."}
        self._status = {"conditions": [condition], "resourceRecords": records}
        self.calls: list[str] = []

    def call(self, verb: str, url: str, body: Any = None) -> Any:
        self.calls.append(f"{verb} {url.rpartition('/')[2]}")
        return {"spec": {"routeName": "prod-web"}, "status": self._status}


def mapping_with(rest: PlayedRest) -> DomainMapping:
    cloud = GoogleCloud("p", "us-west1")
    cloud.__dict__["rest"] = rest
    return DomainMapping(cloud=cloud, name="app.example.com", service="prod-web")


@pytest.mark.parametrize(
    ("reason", "text"),
    [("PermissionDenied", "no verified owner of app.example.com"), ("RouteMissing", "Told. Mend")],
)
def test_refused_mapping_names_the_next_step(reason: str, text: str) -> None:
    with pytest.raises(DeployError, match=text):
        mapping_with(PlayedRest(reason, [])).create()


def test_refused_mapping_is_made_anew() -> None:
    rest = PlayedRest("PermissionDenied", [])
    mapping = mapping_with(rest)
    current = mapping.read()
    assert current is not None
    with pytest.raises(DeployError):
        mapping.update(current)

    assert current != mapping.desired()
    assert rest.calls == ["GET app.example.com", "DELETE app.example.com", "POST domainmappings"]


def test_mapping_of_another_service_is_neither_replaced_nor_deleted() -> None:
    rest = PlayedRest("", [RECORD])
    other = replace(mapping_with(rest), service="prod2-web")
    current = other.read()
    assert current is not None
    with pytest.raises(DeployError, match="leads to the service prod-web"):
        other.update(current)
    other.delete()

    assert {call.partition(" ")[0] for call in rest.calls} == {"GET"}


def test_mapping_that_waits_for_records_is_in_line() -> None:
    mapping = mapping_with(PlayedRest("CertificatePending", [RECORD]))
    mapping.create()

    assert mapping.read() == mapping.desired()
