"""The page of an organisation's AI endpoint: saving, trying and removing it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from django.test import Client

from tests.factories import MembershipFactory, OrganisationFactory
from validibot.accounts.models import AuditEntry, Membership
from validibot.runs.deletion import delete_organisation, extent_of
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.models import AiEndpoint, OrganisationAiEndpoint

pytestmark = pytest.mark.django_db
URL = "https://models.example.com/v1"
FORM = {
    "url": URL,
    "model": "large",
    "key": "sk-first",
    "currency": "EUR",
    "prompt_price": "0.25",
    "answer_price": "2",
    "monthly_budget": "20",
}


@pytest.fixture
def base(member: Membership) -> str:
    return f"/app/orgs/{member.organisation.slug}/settings/ai/"


@pytest.fixture
def own(client: Client, base: str) -> OrganisationAiEndpoint:
    client.post(base, FORM)
    return OrganisationAiEndpoint.objects.get()


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def answered(content: str) -> dict[str, Any]:
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 30, "completion_tokens": 5}}


def tried(client: Client, base: str) -> str:
    return client.post(f"{base}try/", follow=True).content.decode()


def test_key_is_replaced_and_removed_but_never_shown(
    client: Client, base: str, own: OrganisationAiEndpoint
) -> None:
    keys = [own.key]
    for change in ({"key": ""}, {"key": "sk-second"}, {"key": "", "forget_key": "on"}):
        shown = client.post(base, FORM | change, follow=True).content.decode()
        own.refresh_from_db()
        keys.append(own.key)
        assert "sk-" not in shown

    entries = json.dumps(list(AuditEntry.objects.values_list("action", "changes").order_by("pk")))
    assert keys == ["sk-first", "sk-first", "sk-second", ""]
    assert "sk-" not in own.sealed_key + entries
    assert '["ai_endpoint.changed", {"key": ["set", "another key"]}]' in entries
    assert '["ai_endpoint.changed", {"key": ["set", null]}]' in entries


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": ""}, "This field is required"),
        ({"url": "http://models.example.com/v1"}, "begins with https://"),
        ({"url": "https://me:secret@models.example.com/v1"}, "user name or password"),
        ({"url": f"{URL}?api-version=1"}, "leave out ? and #"),
        ({"url": f"{URL}/chat/completions/"}, "Leave out /chat/completions"),
        ({"model": ""}, "This field is required"),
        ({"model": "x" * 151}, "at most 150 characters"),
        ({"key": "sk first"}, "a character that no key has"),
        ({"key": "sk-\u2026"}, "a character that no key has"),
        ({"prompt_price": "-1"}, "greater than or equal to 0"),
        ({"monthly_budget": "1e99"}, "no more than 10 digits"),
        ({"prompt_price": "0", "answer_price": "0"}, "enter the prices"),
        ({"currency": "euro"}, "at most 3 characters"),
    ],
)
def test_unusable_endpoint_is_explained_and_not_saved(
    client: Client, base: str, change: dict[str, str], told: str
) -> None:
    answer = client.post(base, FORM | change)

    assert answer.status_code == 422
    assert told in answer.content.decode()
    assert not OrganisationAiEndpoint.objects.exists()


def test_key_is_not_sent_to_another_host_without_entering_it(
    client: Client, base: str, own: OrganisationAiEndpoint
) -> None:
    moved = FORM | {"url": "https://elsewhere.example.net/v1", "key": ""}

    refused = client.post(base, moved)
    own.refresh_from_db()

    assert refused.status_code == 422
    assert "leads to another host" in refused.content.decode()
    assert own.url == URL
    assert client.post(base, moved | {"key": "sk-new"}).status_code == 302
    own.refresh_from_db()
    assert own.key == "sk-new"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"json": answered('{"ok": true}')}, "It works: the model large at models.example.com"),
        ({"json": answered("Sure! All is well.")}, "not in the form that was asked for"),
        ({"json": answered("[" * 100_000)}, "not in the form that was asked for"),
        ({"body": "<html>"}, "does not answer as OpenAI&#x27;s protocol says"),
        ({"status": 401, "body": "sk-first"}, "refused the key (401)"),
        ({"status": 404}, "answered 404. An owner or admin checks its address and model"),
        ({"status": 503}, "did not answer: it answered 503"),
        ({"body": requests.ReadTimeout()}, "did not answer: no connection (ReadTimeout)"),
    ],
)
def test_try_shows_result_or_error_of_one_request(
    client: Client,
    base: str,
    own: OrganisationAiEndpoint,
    server: responses.RequestsMock,
    reply: dict[str, Any],
    told: str,
) -> None:
    server.post(f"{URL}/chat/completions", **reply)

    page = tried(client, base)

    assert told in page
    assert "sk-first" not in page
    assert len(server.calls) == 1


def test_try_is_refused_without_an_endpoint_and_too_often(
    client: Client, base: str, server: responses.RequestsMock
) -> None:
    server.post(f"{URL}/chat/completions", json=answered('{"ok": true}'))
    assert "Save one first" in tried(client, base)
    client.post(base, FORM)

    pages = [tried(client, base) for _ in range(11)]

    assert "Too many tries" in pages[-1]
    assert len(server.calls) == 10


def test_page_and_catalogue_say_which_endpoint_is_used(
    client: Client, base: str, member: Membership, settings: Any
) -> None:
    sync_validators(settings.VALIDATORS_DIR)
    catalogue = f"/app/orgs/{member.organisation.slug}/validators/ai-review/"

    def shown() -> tuple[str, str]:
        return client.get(base).content.decode(), client.get(catalogue).content.decode()

    nothing = shown()
    AiEndpoint(url="http://model.internal/v1", model="small").save()
    of_site = shown()
    client.post(base, FORM)
    of_own = shown()
    client.post(f"{base}remove/")

    assert "None: a step with an AI review ends" in nothing[0]
    assert "none; an owner or admin sets it" in nothing[1]
    assert "The endpoint of this site: small at model.internal." in of_site[0]
    assert "model.internal, of this site" in of_site[1]
    assert "The endpoint of this organisation: large at models.example.com." in of_own[0]
    assert "models.example.com, of this organisation" in of_own[1]
    assert "0.00 of 20.00 EUR" in of_own[1]
    assert "small at model.internal" in shown()[0]
    assert AuditEntry.objects.filter(action="ai_endpoint.deleted").exists()


def test_deletion_names_the_endpoint_and_takes_it_along(
    member: Membership, own: OrganisationAiEndpoint
) -> None:
    other = OrganisationFactory.create()
    OrganisationAiEndpoint.objects.create(organisation=other, url=URL, model="theirs")

    assert "the AI endpoint with its key" in extent_of(member.organisation).lines()
    delete_organisation.func(member.organisation.pk)

    assert OrganisationAiEndpoint.objects.get().organisation == other


def test_author_does_not_see_the_endpoint(client: Client) -> None:
    author = MembershipFactory.create(role="author")
    client.force_login(author.user)

    assert client.get(f"/app/orgs/{author.organisation.slug}/settings/ai/").status_code == 403
