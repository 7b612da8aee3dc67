"""Unit tests of the checks of tunnel mode, and of the dry run."""

import re
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from devenv.tunnel import checks, google, plan
from devenv.tunnel.doors import Echo
from devenv.tunnel.google import CallFailed, GoogleCall, Need
from tests.unit.devenv.tunnel.samples import CALLBACKS, PATHS, TASKS, URL, config

NEED = Need("queue runs", GoogleCall("POST", "https://x"), ("a.b.c", "a.b.d"), "gcloud grant")


class TunnelCloud:
    """Google's answers: what is held, or how it fails."""

    who = "me"

    def __init__(self, *held: str, status: int = 200) -> None:
        self.sent: list[GoogleCall] = []
        self._held = held
        self._status = status

    def send(self, call: GoogleCall) -> dict[str, Any]:
        self.sent.append(call)
        if self._status != 200:
            raise CallFailed(self._status, "no such thing")
        return {"permissions": list(self._held)}


@pytest.mark.parametrize(
    ("seconds", "result"), [(0, "ok"), (-4, "ok"), (7, "warn"), (11, "fail"), (-11, "fail")]
)
def test_clock_difference_is_judged_by_token_skew(seconds: float, result: str) -> None:
    check = checks.skewed(seconds)

    assert check.result == result
    assert ("timedatectl" in check.fix) is (result != "ok")


@responses.activate
def test_missing_certificates_fail_clock_check() -> None:
    responses.get(google.CERTIFICATES, body=requests.ConnectionError("no route"))

    assert checks.clock().result == "fail"


@responses.activate
def test_answer_without_date_is_a_warning() -> None:
    responses.get(google.CERTIFICATES, json={})

    assert checks.clock().result == "warn"


def test_missing_program_names_its_source() -> None:
    check = checks.program(config(), path="/nowhere")

    assert (check.result, check.text) == ("fail", "cloudflared is not there")
    assert "https://github.com/cloudflare/cloudflared" in check.fix


@pytest.mark.parametrize(
    ("cloud", "result", "text"),
    [
        (TunnelCloud("a.b.c", "a.b.d"), "ok", "a.b.c, a.b.d"),
        (TunnelCloud("a.b.c"), "fail", "you lack a.b.d"),
        (TunnelCloud(status=404), "fail", "it is not there: no such thing"),
        (TunnelCloud(status=403), "warn", "could not be asked: no such thing"),
    ],
)
def test_missing_permission_names_granting_command(cloud: Any, result: str, text: str) -> None:
    check = checks.permission(cloud, NEED)

    assert (check.result, check.text) == (result, text)
    assert bool(check.fix) is (result != "ok")


def test_dry_run_prints_calls_of_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = TunnelCloud()
    monkeypatch.setattr(checks, "Google", lambda: cloud)
    monkeypatch.setattr(checks, "clock", lambda: checks.skewed(0))

    checks.before(config(), path="")

    planned = [
        step.call for step in plan.steps(config(), PATHS, job_env=()) if step.when == "preflight"
    ]
    assert planned[0].url == google.CERTIFICATES
    assert planned[1:-1] == cloud.sent
    assert planned[-1] == google.id_token(TASKS, plan.UNKNOWN)


def test_dry_run_names_url_of_tasks() -> None:
    texts = [str(step.call.body) for step in plan.steps(config(url=URL), PATHS, job_env=())]

    assert any(f"{URL}/internal/tasks/" in text for text in texts)


@responses.activate
def test_round_trip_detects_another_server(tmp_path: Path) -> None:
    responses.post(re.compile(rf"{URL}/.*"), json={"answer": "0" * 32})

    check = checks.round_trip(URL, Echo(tmp_path))

    assert check.result == "fail"
    assert "not from our gate" in check.text


@responses.activate
def test_round_trip_detects_silent_tunnel(tmp_path: Path) -> None:
    responses.post(re.compile(rf"{URL}/.*"), body=requests.ConnectionError("reset"))

    assert checks.round_trip(URL, Echo(tmp_path)).result == "fail"


@responses.activate
def test_accepted_foreign_token_fails_check() -> None:
    responses.post(URL + CALLBACKS, json={})

    found = checks.foreign_tokens(config(), URL, CALLBACKS)

    assert {check.result for check in found} == {"fail"}
    assert {check.fix for check in found} == {"stop the tunnel at once: make down"}


@responses.activate
def test_foreign_tokens_are_of_different_kinds() -> None:
    responses.post(URL + CALLBACKS, status=401)

    found = checks.foreign_tokens(config(), URL, CALLBACKS)

    assert {check.result for check in found} == {"ok"}
    shown = [call.request.headers.get("Authorization", "") for call in responses.calls]
    assert len(set(shown)) == len(shown) == 4
    assert shown[0] == ""
    assert shown[1].endswith(".")  # unsigned


@pytest.mark.parametrize(("days", "result"), [(60, "ok"), (3, "warn")])
def test_certificate_near_expiry_is_a_warning(days: int, result: str) -> None:
    assert checks.expiry(days * 86400.0, "some day").result == result
