"""Template filters of the audit log: its actions, fields and values in words."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django import template
from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy

from validibot.accounts.audit_texts import ACTIONS
from validibot.accounts.models import AuditEntry, GrantAccess, KeyScope, ProjectColour, Role
from validibot.webhooks.models import EventKind, MessageStyle

register = template.Library()

_FIELDS: Mapping[str, Promise] = {
    "answer_price": gettext_lazy("Price of an answer"),
    "amount": gettext_lazy("Credits"),
    "colour": gettext_lazy("Colour"),
    "cron": gettext_lazy("Times"),
    "currency": gettext_lazy("Currency"),
    "data_region": gettext_lazy("Data region"),
    "events": gettext_lazy("Events"),
    "filename": gettext_lazy("File"),
    "image": gettext_lazy("Image"),
    "is_active": gettext_lazy("Switched on"),
    "key": gettext_lazy("Key"),
    "method": gettext_lazy("Method"),
    "model": gettext_lazy("Model"),
    "monthly_budget": gettext_lazy("Monthly budget"),
    "name": gettext_lazy("Name"),
    "prompt_price": gettext_lazy("Price of a prompt"),
    "reason": gettext_lazy("Reason"),
    "role": gettext_lazy("Role"),
    "roles": gettext_lazy("Roles"),
    "samples": gettext_lazy("Files"),
    "scopes": gettext_lazy("Scopes"),
    "slug": gettext_lazy("Slug"),
    "style": gettext_lazy("Format"),
    "time_zone": gettext_lazy("Time zone"),
    "type": gettext_lazy("Kind"),
    "url": gettext_lazy("Address"),
    "workflows": gettext_lazy("Workflows"),
}
# Methods of sign-in and kinds of second factors, as django-allauth names them.
_METHODS: Mapping[str, Promise] = {
    "code": gettext_lazy("code by mail"),
    "mfa": gettext_lazy("second factor"),
    "password": gettext_lazy("password"),
    "password_reset": gettext_lazy("password reset"),
    "recovery_codes": gettext_lazy("recovery codes"),
    "socialaccount": gettext_lazy("another provider"),
    "totp": gettext_lazy("authenticator app"),
    "webauthn": gettext_lazy("passkey"),
}
_ORIGINS: Mapping[str, Promise] = {
    "api": gettext_lazy("by the API"),
    "command": gettext_lazy("by a command"),
    "page": gettext_lazy("in the browser"),
}


@register.filter
def action_text(action: str) -> str:
    """Return the text of an action; the code of one that older releases wrote."""
    return str(ACTIONS.get(action, action))


@register.filter
def origin_text(via: str) -> str:
    return str(_ORIGINS.get(via, via))


@register.filter
def change_texts(entry: AuditEntry) -> Iterator[tuple[str, str, str]]:
    """Yield label, value before ("" if there was none) and value after of each changed field."""
    for name, (before, after) in entry.changes.items():
        worded = _WORDS.get(name, str)
        label = str(_FIELDS.get(name, name))
        yield label, _text(before, worded), _text(after, worded) or "—"


def _text(value: Any, worded: Callable[[str], str]) -> str:
    match value:
        case None:
            return ""
        case bool():
            return _("yes") if value else _("no")
        case dict():
            return ", ".join(f"{name} ({worded(each)})" for name, each in value.items())
        case list():
            return ", ".join(worded(str(each)) for each in value)
        case _:
            return worded(str(value))


def _choice(choices: type[TextChoices]) -> Callable[[str], str]:
    """Return a function that words a value, or each of several with spaces between."""
    labels = dict(choices.choices)
    return lambda text: ", ".join(str(labels.get(each, each)) for each in text.split())


def _role(text: str) -> str:
    return _("Guest") if text == "guest" else _choice(Role)(text)


def _method(text: str) -> str:
    return ", ".join(str(_METHODS.get(each, each)) for each in text.split(", "))


_WORDS: Mapping[str, Callable[[str], str]] = {
    "colour": _choice(ProjectColour),
    "events": _choice(EventKind),
    "method": _method,
    "role": _role,
    "roles": _role,
    "scopes": _choice(KeyScope),
    "style": _choice(MessageStyle),
    "type": _method,
    "workflows": _choice(GrantAccess),
}
