"""What the preflight says of a machine, a project and a tunnel that are not as they should be."""

import re
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from devenv.tunnel import google, passage, plan, preflight
from devenv.tunnel.doors import CALLBACKS
from devenv.tunnel.echo import Echo
from devenv.tunnel.google import Call, CallFailed, Need
from tests.unit.devenv.tunnel.samples import TASKS, URL, config

NEED = Need("queue runs", Call("POST", "https://x"), ("a.b.c", "a.b.d"), "gcloud grant")


class Cloud:
    """Google's answers: what is held, or how it fails."""

    who = "me"

    def __init__(self, *held: str, status: int = 200) -> None:
        self.sent: list[Call] = []
        self._held = held
        self._status = status

    def send(self, call: Call) -> dict[str, Any]:
        self.sent.append(call)
        if self._status != 200:
            raise CallFailed(self._status, "no such thing")
        return {"permissions": list(self._held)}


@pytest.mark.parametrize(
    ("seconds", "result"), [(0, "ok"), (-4, "ok"), (7, "warn"), (11, "fail"), (-11, "fail")]
)
def test_a_clock_that_is_off_is_judged_by_what_tokens_bear(seconds: float, result: str) -> None:
    check = preflight.skewed(seconds)

    assert check.result == result
    assert ("timedatectl" in check.fix) is (result != "ok")


@responses.activate
def test_without_googles_certificates_no_token_can_be_verified() -> None:
    responses.get(google.CERTIFICATES, body=requests.ConnectionError("no route"))

    assert preflight.clock().result == "fail"


@responses.activate
def test_an_answer_without_a_date_tells_nothing_of_the_clock() -> None:
    responses.get(google.CERTIFICATES, json={})

    assert preflight.clock().result == "warn"


def test_a_program_that_is_not_there_comes_with_where_to_get_it() -> None:
    check = preflight.program(config(), path="/nowhere")

    assert (check.result, check.text) == ("fail", "cloudflared is not there")
    assert "https://github.com/cloudflare/cloudflared" in check.fix


@pytest.mark.parametrize(
    ("cloud", "result", "text"),
    [
        (Cloud("a.b.c", "a.b.d"), "ok", "a.b.c, a.b.d"),
        (Cloud("a.b.c"), "fail", "you lack a.b.d"),
        (Cloud(status=404), "fail", "it is not there: no such thing"),
        (Cloud(status=403), "warn", "could not be asked: no such thing"),
    ],
)
def test_a_right_that_is_lacking_comes_with_the_command_that_grants_it(
    cloud: Any, result: str, text: str
) -> None:
    check = preflight.permission(cloud, NEED)

    assert (check.result, check.text) == (result, text)
    assert bool(check.fix) is (result != "ok")


def test_the_dry_run_prints_exactly_the_calls_that_the_preflight_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = Cloud()
    monkeypatch.setattr(preflight, "Google", lambda: cloud)
    monkeypatch.setattr(preflight, "clock", lambda: preflight.skewed(0))

    preflight.before(config(), path="")

    planned = [step.call for step in plan.steps(config()) if step.when == "preflight"]
    assert planned[0].url == google.CERTIFICATES
    assert planned[1:-1] == cloud.sent
    assert planned[-1] == google.id_token(TASKS, plan.UNKNOWN)


def test_the_dry_run_names_where_tasks_will_arrive() -> None:
    texts = [str(step.call.body) for step in plan.steps(config(url=URL))]

    assert any(f"{URL}/internal/tasks/" in text for text in texts)


@responses.activate
def test_another_server_at_the_address_is_found_out(tmp_path: Path) -> None:
    responses.post(re.compile(rf"{URL}/.*"), json={"answer": "0" * 32})

    check = passage.round_trip(URL, Echo(tmp_path))

    assert check.result == "fail"
    assert "not from our gate" in check.text


@responses.activate
def test_a_tunnel_that_answers_nothing_is_found_out(tmp_path: Path) -> None:
    responses.post(re.compile(rf"{URL}/.*"), body=requests.ConnectionError("reset"))

    assert passage.round_trip(URL, Echo(tmp_path)).result == "fail"


@responses.activate
def test_a_gate_that_lets_strangers_in_is_an_alarm() -> None:
    responses.post(URL + CALLBACKS, json={})

    checks = passage.strangers(config(), URL)

    assert {check.result for check in checks} == {"fail"}
    assert {check.fix for check in checks} == {"stop the tunnel at once: make down"}


@responses.activate
def test_each_stranger_shows_another_kind_of_token() -> None:
    responses.post(URL + CALLBACKS, status=401)

    checks = passage.strangers(config(), URL)

    assert {check.result for check in checks} == {"ok"}
    shown = [call.request.headers.get("Authorization", "") for call in responses.calls]
    assert len(set(shown)) == len(shown) == 4
    assert shown[0] == ""
    assert shown[1].endswith(".")  # unsigned


@pytest.mark.parametrize(("days", "result"), [(60, "ok"), (3, "warn")])
def test_a_certificate_that_ends_soon_is_told(days: int, result: str) -> None:
    assert passage.expiry(days * 86400.0, "some day").result == result
