"""Language models of the site and of organisations: requests, repetitions, limits and keys."""

import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
import responses
import time_machine
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import Settings

from tests.factories import OrganisationFactory, UserFactory
from validibot.accounts.models import Organisation
from validibot.engines import EngineError
from validibot.workflows import ai
from validibot.workflows.ai import EndpointModel, language_model_of, usage_of
from validibot.workflows.models import AiEndpoint, OrganisationAiEndpoint

pytestmark = pytest.mark.django_db

URL = "https://models.example.org/v1"
MESSAGES = [{"role": "user", "content": "{}"}]


@pytest.fixture
def endpoint() -> AiEndpoint:
    made = AiEndpoint(url=URL, model="small", monthly_tokens=100)
    made.key = "sk-secret"
    made.save()
    return made


@pytest.fixture
def organisation() -> Organisation:
    made: Organisation = OrganisationFactory.create()
    return made


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits before repetitions, none of which is waited for."""
    noted: list[float] = []
    monkeypatch.setattr("validibot.workflows.ai.sleep", noted.append)
    return noted


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def completion(
    content: str | None = "{}", *, finish: str = "stop", **message: Any
) -> dict[str, Any]:
    choice = {"message": {"content": content} | message, "finish_reason": finish}
    usage = {"prompt_tokens": 40, "completion_tokens": 20}
    return {"model": "small-2", "choices": [choice], "usage": usage}


def model_of(organisation: Organisation) -> EndpointModel:
    found = language_model_of(organisation)
    assert found is not None
    return found


def test_request_has_model_schema_limit_and_key(
    endpoint: AiEndpoint, organisation: Organisation, server: responses.RequestsMock
) -> None:
    server.post(f"{URL}/chat/completions", json=completion("[]"))

    answer = model_of(organisation).ask(MESSAGES, {"type": "object"})

    sent = server.calls[0].request
    body = json.loads(sent.body or "")
    assert (answer.text, answer.model, answer.prompt_tokens) == ("[]", "small-2", 40)
    assert sent.headers["Authorization"] == "Bearer sk-secret"
    assert (body["model"], body["max_tokens"]) == ("small", 4000)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "sk-secret" not in endpoint.sealed_key


@pytest.mark.parametrize("failure", [429, 503, requests.ConnectionError("secret host")])
def test_passing_failure_is_repeated(
    endpoint: AiEndpoint,
    organisation: Organisation,
    server: responses.RequestsMock,
    waits: list[float],
    failure: Any,
) -> None:
    wrong = {"body": failure} if isinstance(failure, Exception) else {"status": failure}
    server.post(f"{URL}/chat/completions", **wrong)
    server.post(f"{URL}/chat/completions", json=completion())

    model_of(organisation).ask(MESSAGES, {})

    assert waits == [1]


def test_lasting_failure_ends_after_the_last_repetition(
    endpoint: AiEndpoint,
    organisation: Organisation,
    server: responses.RequestsMock,
    waits: list[float],
) -> None:
    server.post(f"{URL}/chat/completions", status=503)

    with pytest.raises(EngineError, match=r"did not answer: it answered 503\. Start the run again"):
        model_of(organisation).ask(MESSAGES, {})

    assert waits == [*ai.RETRY_SECONDS]


def test_no_repetition_begins_after_the_time_limit(
    endpoint: AiEndpoint,
    organisation: Organisation,
    server: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 1.0, 59.5])
    monkeypatch.setattr("validibot.workflows.ai.monotonic", lambda: next(clock))
    server.post(f"{URL}/chat/completions", body=requests.ReadTimeout())

    with pytest.raises(EngineError, match="did not answer"):
        model_of(organisation).ask(MESSAGES, {})

    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"status": 401, "body": "bad key sk-secret"}, r"refused the key \(401\)"),
        ({"status": 302, "headers": {"Location": "http://10.0.0.1/"}}, "answered 302"),
        ({"body": "<html>"}, "does not answer as OpenAI's protocol says"),
        ({"json": {"choices": []}}, "choices"),
        ({"json": completion(None, refusal="No" * 90)}, f"refused to answer: '{'No' * 90}'"),
        ({"json": completion("{", finish="length")}, "cut off at 4,000 tokens"),
        ({"body": b" " * (ai.MAX_ANSWER_BYTES + 1)}, "more than 4,194,304 bytes"),
    ],
)
def test_unusable_answer_ends_the_step_without_repetition(
    endpoint: AiEndpoint,
    organisation: Organisation,
    server: responses.RequestsMock,
    reply: dict[str, Any],
    message: str,
) -> None:
    server.post(f"{URL}/chat/completions", **reply)

    with pytest.raises(EngineError, match=message) as refused:
        model_of(organisation).ask(MESSAGES, {})

    assert len(server.calls) == 1
    assert "sk-secret" not in str(refused.value)


@time_machine.travel("2026-05-05 12:00Z", tick=False)
def test_usage_is_counted_and_the_month_s_limit_refuses_the_next_review(
    endpoint: AiEndpoint, organisation: Organisation, server: responses.RequestsMock
) -> None:
    server.post(f"{URL}/chat/completions", json=completion())
    model = model_of(organisation)
    model.ask(MESSAGES, {})
    model.ask(MESSAGES, {})

    with pytest.raises(EngineError, match="has used 120 of 100 tokens"):
        model.ask(MESSAGES, {})

    assert (usage_of(organisation).tokens, usage_of(organisation).requests) == (120, 2)
    assert usage_of(OrganisationFactory.create()).tokens == 0


@time_machine.travel("2026-05-05 12:00Z", tick=False)
def test_spent_budget_refuses_the_next_review(
    endpoint: AiEndpoint, organisation: Organisation, server: responses.RequestsMock
) -> None:
    """40 tokens sent and 20 answered: 0.01 + 0.02 USD at 250 and 1,000 USD for a million."""
    server.post(f"{URL}/chat/completions", json=completion())
    endpoint.monthly_tokens, endpoint.monthly_budget = 0, Decimal("0.05")
    endpoint.prompt_price, endpoint.answer_price = Decimal(250), Decimal(1000)
    endpoint.full_clean(validate_unique=False)
    endpoint.save()
    model = model_of(organisation)
    model.ask(MESSAGES, {})
    assert usage_of(organisation).cost == Decimal("0.03")
    model.ask(MESSAGES, {})

    with pytest.raises(EngineError, match=r"has used 0\.06 of 0\.05 USD for AI reviews"):
        model.ask(MESSAGES, {})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"monthly_budget": 5}, "monthly_budget"),
        ({"prompt_price": -1}, "prompt_price"),
        ({"currency": "$"}, "currency"),
    ],
)
def test_unusable_prices_and_budget_are_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AiEndpoint(url=URL, model="small", **fields).full_clean()

    assert list(refused.value.message_dict) == [field]


def test_settings_count_until_there_is_a_row(
    settings: Settings, organisation: Organisation
) -> None:
    assert language_model_of(organisation) is None
    settings.AI_ENDPOINT_URL, settings.AI_ENDPOINT_MODEL = URL, "small"
    assert language_model_of(organisation) is not None
    AiEndpoint(url="").save()
    assert language_model_of(organisation) is None


@pytest.mark.parametrize("url", ["ftp://a", "models.example.org", "https://u:p@a/v1", "http://["])
def test_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"address|begin|read"):
        AiEndpoint(url=url, model="small").full_clean()


def test_key_is_written_in_the_admin_site_and_never_shown(client: Client) -> None:
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    page = "/admin/workflows/aiendpoint/"
    limits = {
        "max_document_bytes": 1000,
        "max_answer_tokens": 500,
        "timeout_seconds": 30,
        "monthly_tokens": 0,
        "currency": "EUR",
        "prompt_price": "0.25",
        "answer_price": "2",
        "monthly_budget": "20",
    }
    client.post(f"{page}add/", limits | {"url": URL, "model": "small", "key": "sk-1"})
    client.post(f"{page}1/change/", limits | {"url": URL, "model": "large", "key": ""})
    shown = client.get(page, follow=True).content.decode()

    row = AiEndpoint.objects.get()
    assert (row.model, row.key) == ("large", "sk-1")
    assert "large" in shown
    assert "sk-1" not in shown
    client.post(f"{page}1/change/", limits | {"url": URL, "model": "a", "forget_key": "on"})
    assert AiEndpoint.objects.get().key == ""


def test_key_of_another_secret_key_asks_for_it_again(
    endpoint: AiEndpoint, organisation: Organisation, settings: Settings
) -> None:
    settings.SECRET_KEY = "new"

    with pytest.raises(EngineError, match="enters it again"):
        model_of(organisation).ask(MESSAGES, {})

    settings.SECRET_KEY_FALLBACKS = ["test"]
    assert AiEndpoint.load().key == "sk-secret"


OWN_URL = "https://own.example.com/api/v1"


def set_own(organisation: Organisation, *, url: str = OWN_URL, **fields: Any) -> None:
    made = OrganisationAiEndpoint(organisation=organisation, url=url, model="own", **fields)
    made.key = f"sk-of-{organisation.slug}"
    made.save()


def test_organisations_never_use_each_other_s_endpoint_and_key(
    endpoint: AiEndpoint, organisation: Organisation, server: responses.RequestsMock
) -> None:
    """Two have an endpoint at the same host, the third uses the site's."""
    second, third = OrganisationFactory.create(), OrganisationFactory.create()
    set_own(organisation)
    set_own(second, url="https://own.example.com/other")
    for url in (URL, OWN_URL, "https://own.example.com/other"):
        server.post(f"{url}/chat/completions", json=completion())

    hosts = [model_of(each).ask(MESSAGES, {}).endpoint for each in (organisation, second, third)]

    sent = [(call.request.url, call.request.headers["Authorization"]) for call in server.calls]
    assert sent == [
        (f"{OWN_URL}/chat/completions", f"Bearer sk-of-{organisation.slug}"),
        ("https://own.example.com/other/chat/completions", f"Bearer sk-of-{second.slug}"),
        (f"{URL}/chat/completions", "Bearer sk-secret"),
    ]
    assert hosts == ["own.example.com", "own.example.com", "models.example.org"]


@time_machine.travel("2026-05-05 12:00Z", tick=False)
def test_own_endpoint_has_its_own_budget_and_usage(
    endpoint: AiEndpoint, organisation: Organisation, server: responses.RequestsMock
) -> None:
    """The tokens that the site grants are of its own endpoint: here 60 of 50 are no obstacle."""
    AiEndpoint.objects.update(monthly_tokens=50)
    prices: dict[str, Any] = {"prompt_price": Decimal(250), "answer_price": Decimal(1000)}
    set_own(organisation, monthly_budget=Decimal("0.05"), **prices)
    server.post(f"{OWN_URL}/chat/completions", json=completion())
    model = model_of(organisation)
    model.ask(MESSAGES, {})
    model.ask(MESSAGES, {})

    with pytest.raises(EngineError, match=r"0\.06 of 0\.05 USD .* ask an owner or admin"):
        model.ask(MESSAGES, {})

    assert usage_of(organisation, own=True).tokens == 120
    assert usage_of(organisation).tokens == 0


def test_site_s_endpoint_is_used_only_if_offered(
    endpoint: AiEndpoint, organisation: Organisation
) -> None:
    AiEndpoint.objects.update(is_offered=False, max_document_bytes=7)

    assert language_model_of(organisation) is None
    set_own(organisation)
    assert model_of(organisation).max_document_bytes == 7


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00::1"])
def test_own_endpoint_in_a_private_network_is_refused(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(
        "requests_hardened.ip_filter.socket.getaddrinfo",
        lambda *_, **__: [(family, socket.SOCK_STREAM, 6, "", (address, 443))],
    )
    set_own(organisation)

    with pytest.raises(EngineError, match=r"own\.example\.com is in a private network\. An owner"):
        model_of(organisation).ask(MESSAGES, {})


def test_hanging_own_endpoint_is_cut_off(
    organisation: Organisation, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOKS_MAY_BE_LOCAL = True
    set_own(organisation)
    ours, theirs = socket.socketpair()
    monkeypatch.setattr("urllib3.util.connection.create_connection", lambda *_, **__: ours)
    model = language_model_of(organisation, seconds=0.01)
    assert model

    with theirs, pytest.raises(EngineError, match=r"no answer within 0\.01 s"):
        model.ask(MESSAGES, {})
