"""Changes of an organisation's AI endpoint, and the request that tries it."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _, gettext_lazy

from validibot.accounts import audit
from validibot.accounts.models import Organisation
from validibot.core.throttle import FailureLimit
from validibot.engines import EngineError
from validibot.engines.base import ModelAnswer
from validibot.workflows.ai import EndpointModel, own_endpoint
from validibot.workflows.models import OrganisationAiEndpoint, check_ai_key

# Somebody waits for the answer.
TRY_SECONDS = 15
MAX_SHOWN = 80
_TRIES = FailureLimit("ai-endpoint", count=10, seconds=60)
_QUESTION = 'This tests a connection. Answer with the JSON object {"ok": true} and nothing else.'
_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
_AUDITED = ("model", "currency", "prompt_price", "answer_price", "monthly_budget")


class AiKeyForm(forms.Form):
    """The fields of an endpoint's key, which is written and never shown."""

    key = forms.CharField(
        label=gettext_lazy("API key"),
        required=False,
        max_length=500,
        validators=[check_ai_key],
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy(
            "It is stored encrypted and never shown. Empty: the stored key stays."
        ),
    )
    forget_key = forms.BooleanField(label=gettext_lazy("Remove the stored key"), required=False)


@transaction.atomic
def save_endpoint(
    organisation: Organisation, fields: Mapping[str, Any], *, key: str, forget_key: bool
) -> OrganisationAiEndpoint:
    """Create or change the endpoint of an organisation. Raises ValidationError.

    An empty `key` leaves the stored one, unless `forget_key` or another place: a key goes only to the
    place that it was entered for, so that nobody can read it by means of an address.
    """
    organisation = Organisation.locked(organisation.pk)
    stored = own_endpoint(organisation)
    endpoint = own_endpoint(organisation) or OrganisationAiEndpoint(organisation=organisation)
    for name, value in fields.items():
        setattr(endpoint, name, value)
    moved = stored is not None and _place(stored) != _place(endpoint)
    if moved and endpoint.sealed_key and not (key or forget_key):
        told = _(
            "The address leads to another host. Enter the key for it, or remove the stored key."
        )
        raise ValidationError({"key": told})
    if key or forget_key:
        endpoint.key = key
    endpoint.full_clean()
    endpoint.save()
    endpoint.refresh_from_db()  # the numbers as the next change will find them
    action = "ai_endpoint.changed" if stored else "ai_endpoint.created"
    audit.record(organisation, action, endpoint, _changes(stored, endpoint))
    return endpoint


@transaction.atomic
def remove_endpoint(organisation: Organisation) -> None:
    """Delete the endpoint of an organisation with its key, if it has one."""
    stored = own_endpoint(Organisation.locked(organisation.pk))
    if stored:
        audit.record(organisation, "ai_endpoint.deleted", stored, _changes(stored, None))
        stored.delete()


def try_endpoint(organisation: Organisation) -> ModelAnswer:
    """Send one small request to the own endpoint, and return its answer. Raises ValidationError."""
    endpoint = own_endpoint(organisation)
    if endpoint is None:
        raise ValidationError(_("This organisation has no endpoint of its own. Save one first."))
    if seconds := _TRIES.exceeded_after(str(organisation.pk)):
        told = _("Too many tries. Wait %(seconds)s seconds.")
        raise ValidationError(told % {"seconds": seconds})
    model = EndpointModel(endpoint, organisation, seconds=TRY_SECONDS, repeats=False)
    try:
        answer = model.ask([{"role": "user", "content": _QUESTION}], _SCHEMA)
    except EngineError as error:
        raise ValidationError(str(error)) from error
    if not _is_as_asked(answer.text):
        told = _(
            "The model %(model)s answered, but not in the form that was asked for: %(text)s. Choose a"
            " model with structured outputs."
        )
        shown = {"model": answer.model, "text": repr(answer.text[:MAX_SHOWN])}
        raise ValidationError(told % shown)
    return answer


def _is_as_asked(text: str) -> bool:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) and isinstance(read.get("ok"), bool)


def _place(endpoint: OrganisationAiEndpoint) -> str:
    """Return scheme and host of an endpoint; the path of its address may be a secret."""
    parts = urlsplit(endpoint.url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _changes(
    before: OrganisationAiEndpoint | None, after: OrganisationAiEndpoint | None
) -> dict[str, tuple[Any, Any]]:
    """Return what an entry of the audit log says of a change, without address and key."""
    old, new = _described(before), _described(after)
    if before and after and before.url != after.url and old["url"] == new["url"]:
        new["url"] = f"{new['url']} (another path)"
    if before and after and before.sealed_key != after.sealed_key and old["key"] == new["key"]:
        new["key"] = "another key"
    return {name: (old.get(name), new.get(name)) for name in old | new}


def _described(endpoint: OrganisationAiEndpoint | None) -> dict[str, Any]:
    if endpoint is None:
        return {}
    texts = {name: str(getattr(endpoint, name)) for name in _AUDITED}
    return {"url": _place(endpoint), "key": "set" if endpoint.sealed_key else None, **texts}
