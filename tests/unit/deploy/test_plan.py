"""The comparison of desired settings with those of the cloud, without a cloud."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    ResourceExhausted,
    ServiceUnavailable,
    Unauthenticated,
)
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from deploy.cli import layout_of
from deploy.errors import DeployError
from deploy.plan import Change, apply, change_of, differences, plan
from deploy.resource import Resource, Settings, command, shown_variable


@dataclass(kw_only=True)
class Thing(Resource):
    """A resource in a dictionary."""

    kind: ClassVar[str] = "thing"

    name: str
    there: dict[str, Settings]
    wanted: Settings = field(default_factory=lambda: {"size": 1})
    error: Exception | None = None

    def desired(self) -> Settings:
        return self.wanted

    def read(self) -> Settings | None:
        return self.there.get(self.name)

    def create(self) -> None:
        if self.error:
            raise self.error
        self.there[self.name] = self.wanted

    def update(self, current: Settings) -> None:
        self.there[self.name] = self.wanted

    def delete(self) -> None:
        del self.there[self.name]

    def gcloud(self, action: str, current: Settings) -> list[str]:
        return [command("things", action, self.name)]


def run(*wanted: Thing, strays: tuple[Thing, ...] = (), may_delete: bool = True) -> list[str]:
    told: list[Change] = []
    apply(wanted, lambda: strays, tell=told.append, may_delete=lambda changes: may_delete)
    return [f"{change.action} {change.resource.address}" for change in told]


def test_differences_are_found_in_nested_settings() -> None:
    before = {"env": {"A": "1", "B": "2"}, "size": 1, "tags": []}
    after = {"env": {"A": "1", "B": "3", "C": "4"}, "size": 1, "tags": ["x"]}

    assert list(differences(before, after)) == [
        ("env.B", "2", "3"),
        ("env.C", None, "4"),
        ("tags", None, ["x"]),
    ]


def test_plan_changes_nothing() -> None:
    there: dict[str, Settings] = {"old": {"size": 1}, "other": {"size": 2}}
    things = [Thing(name=name, there=there) for name in ("new", "other", "old")]
    changes = plan(things[:2], things[2:])

    assert [line for change in changes for line in change.lines()] == [
        *("+ thing/new", "    size: 1", "~ thing/other", "    size: 2 -> 1", "- thing/old"),
    ]
    assert there == {"old": {"size": 1}, "other": {"size": 2}}


def test_apply_creates_updates_and_deletes_once() -> None:
    there: dict[str, Settings] = {"old": {"size": 1}, "other": {"size": 2}}
    things = [Thing(name=name, there=there) for name in ("new", "other", "old")]

    assert run(*things[:2], strays=(things[2],), may_delete=False) == [
        *("create thing/new", "update thing/other"),
    ]
    assert run(*things[:2], strays=(things[2],)) == ["delete thing/old"]
    assert run(*things[:2], strays=(things[2],)) == []


def test_resource_of_another_stage_is_refused() -> None:
    wanted = {"labels": {"stage": "prod"}}
    for labels, owner in (({"stage": "dev"}, "the stage 'dev'"), ({}, "was not made by `deploy`")):
        thing = Thing(name="a", there={"a": {"labels": labels}}, wanted=wanted)
        with pytest.raises(DeployError, match=owner):
            change_of(thing)


@pytest.mark.parametrize(
    ("kind", "text", "step"),
    [
        (Forbidden, "Permission 'x.create' denied", "Give the deployer that permission"),
        (Forbidden, "Run API has not been used in project p", "gcloud services enable"),
        (Forbidden, "This API requires billing to be enabled.", "gcloud billing projects link"),
        (AlreadyExists, "the name is used", "choose another one in the stage file"),
        (ResourceExhausted, "Quota exceeded for cpu", "Ask for a larger quota"),
        (DefaultCredentialsError, "No credentials.", "gcloud auth application-default login"),
        (RefreshError, "Reauthentication is needed.", "gcloud auth application-default login"),
        (Unauthenticated, "The token has expired", "gcloud auth application-default login"),
        (ServiceUnavailable, "no connection", "Run `apply` again, which continues here."),
        (Conflict, "The bucket exists", "choose another one in the stage file"),
        (GoogleAPICallError, "Something\n broke", "Something broke. Mend it, then run `apply`"),
    ],
)
def test_error_names_resource_and_next_command(kind: Any, text: str, step: str) -> None:
    with pytest.raises(DeployError) as raised:
        run(Thing(name="a", there={}, error=kind(text)))

    assert str(raised.value).startswith("thing/a: ")
    assert step in str(raised.value)


def test_every_creation_has_its_gcloud_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for traffic, which is moved, and alerts, whose addresses have names that only the cloud knows."""
    monkeypatch.setattr("deploy.google.GoogleCloud.number", "1")
    silent = {
        resource.kind
        for resource in layout_of("prod").resources()
        if resource.kind not in ("alert", "apis") and not resource.gcloud("create", {})
    }

    assert silent == {"traffic"}


def test_protected_resource_stops_every_deletion() -> None:
    there: dict[str, Settings] = {"a": {"size": 1}, "db": {"protected": True}}
    with pytest.raises(DeployError, match="thing/db is protected from deletion"):
        run(strays=(Thing(name="a", there=there), Thing(name="db", there=there)))

    assert list(there) == ["a", "db"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AI_ENDPOINT_KEY", "short"),
        ("SENTRY_DSN", "https://errors.example/1"),
        ("EMAIL_HOST_PASSWORD", "x"),
        ("PROXY", "http://user:word@proxy.example"),
        ("HOOK", "https://hooks.example/?token=abc"),
        ("EXTRA", "ghp_0123456789abcdef"),
        ("EXTRA", "mB2xN8qRz0Lk4TfYw6Vs1Hd3"),
        ("EXTRA", "0123456789abcdef0123456789abcdef"),
    ],
)
def test_variable_that_may_be_secret_is_shown_as_digest(name: str, value: str) -> None:
    assert re.fullmatch(r"hidden-sha256-[0-9a-f]{8}", shown_variable(name, value))


def test_plan_and_commands_hide_secret_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.google.GoogleCloud.number", "1")
    stage = layout_of("prod")
    stage.stage.env["AI_ENDPOINT_KEY"] = "of a provider"
    web = stage.product.services[1]
    told = "\n".join([*Change(web, None, web.desired()).lines(), *web.gcloud("create", {})])

    assert "of a provider" not in told
    assert "    env.AI_ENDPOINT_KEY: hidden-sha256-" in told
    assert "AI_ENDPOINT_KEY=hidden-sha256-" in told
    assert "    env.GCS_BUCKET: validibot-prod-prod-files" in told
    names = "CUSTOM_VALIDATOR_SECRET_ACCOUNTS", "12=prod-custom-12@p.iam.gserviceaccount.com"
    assert shown_variable(*names) == names[1]
    assert "    env.DEPLOYED_SECRETS: prod-postmark-server-token,prod-database-url," in told
