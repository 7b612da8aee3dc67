"""Secrets of custom validators: values that are written and never shown, or references to them.

The site's way to run validators decides which: with containers of a host the values are stored
encrypted, and on Cloud Run they stay in Secret Manager and a reference names their version. They
belong to one version of a validator, so that a secret never reaches an image for which nobody
entered it. Runs, evidence and the audit log have the references, or the numbers of the values.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from enum import Enum

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.workflows.models import JobState, Validator, ValidatorSecret

MAX_VALUE_CHARACTERS = 4000
MAX_REFERENCE_CHARACTERS = 400
_REFERENCE = re.compile(
    r"projects/([a-z0-9.:-]{1,100})/secrets/([A-Za-z0-9_-]{1,255})/versions/([1-9][0-9]{0,9})"
)


class SecretSource(Enum):
    """Where the values of secrets are: in our database, encrypted, or in Secret Manager."""

    DATABASE = "database"
    SECRET_MANAGER = "secret_manager"  # noqa: S105 - no secret


@transaction.atomic
def set_secrets(
    validator: Validator,
    given: Mapping[str, str],
    *,
    forget: Collection[str] = (),
    source: SecretSource,
) -> bool:
    """Store values, or references as `source` says, and forget others; return whether any changed.

    The job is to be prepared again then, or waits for what is missing. Raises ValidationError, whose
    keys are names of secrets.
    """
    validator = Validator.objects.select_for_update(of=("self",)).get(pk=validator.pk)
    problems = {name: problem for name in given if (problem := _problem(validator, name))}
    for name, text in given.items():
        try:
            check_secret(text, source=source)
        except ValidationError as error:
            problems.setdefault(name, error.messages[0])
    if problems:
        raise ValidationError(problems)
    stored = {secret.name: secret for secret in validator.secret_values.all()}
    changes = {}
    for name in validator.secret_names:
        if name in given or (name in forget and name in stored):
            secret = stored.get(name) or ValidatorSecret(validator=validator, name=name, number=0)
            before = _shown(secret)
            _change(secret, given.get(name, ""), source)
            changes[name] = (before, _shown(secret))
    if not changes:
        return False
    is_complete = not missing_secrets(validator, source)
    state = JobState.PENDING if is_complete else JobState.INCOMPLETE
    Validator.objects.filter(pk=validator.pk).update(job_state=state, job_error="")
    audit.record(validator.organisation, "validator.secrets_changed", validator, changes)
    return True


def check_secret(text: str, *, source: SecretSource) -> None:
    """Check a value or a reference. Raises ValidationError, whose message never has a value in it."""
    if source is SecretSource.SECRET_MANAGER:
        _check_reference(text)
        return
    if len(text) > MAX_VALUE_CHARACTERS:
        message = _("The value has %(count)s characters; at most %(limit)s are stored.")
        counts = {"count": f"{len(text):,}", "limit": f"{MAX_VALUE_CHARACTERS:,}"}
        raise ValidationError(message % counts)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValidationError(
            _(
                "The value has a line break or another control character. Enter it on one line, several"
                " lines encoded in Base64."
            )
        )


def _check_reference(text: str) -> None:
    found = _REFERENCE.fullmatch(text)
    project = settings.GOOGLE_CLOUD_PROJECT
    if found is None:
        message = _(
            "%(text)s is not projects/%(project)s/secrets/NAME/versions/NUMBER. Name a version by its number:"
            " `latest` could be another value tomorrow."
        )
        raise ValidationError(message % {"text": repr(text[:100]), "project": project})
    if found[1] != project:
        message = _(
            "The secret is of project %(other)s; validators read those of %(project)s only."
        )
        raise ValidationError(message % {"other": found[1], "project": project})


def missing_secrets(validator: Validator, source: SecretSource) -> list[str]:
    """Return the names of the secrets of a validator that have no value from this source."""
    usable = {
        secret.name
        for secret in validator.secret_values.all()
        if (secret.reference if source is SecretSource.SECRET_MANAGER else secret.sealed_value)
    }
    return [name for name in validator.secret_names if name not in usable]


def _problem(validator: Validator, name: str) -> str:
    if name in validator.secret_names:
        return ""
    known = ", ".join(validator.secret_names) or _("none")
    text = _("The manifest has no secret %(name)s; its secrets: %(known)s.")
    return text % {"name": repr(name[:100]), "known": known}


def _change(secret: ValidatorSecret, text: str, source: SecretSource) -> None:
    """Store a value or reference, "" for none; the number of an earlier value never comes back."""
    is_reference = source is SecretSource.SECRET_MANAGER
    secret.reference = text if is_reference else ""
    secret.value = "" if is_reference else text
    secret.number += 1 if text else 0
    secret.save()


def _shown(secret: ValidatorSecret) -> str | None:
    return secret.label if secret.reference or secret.sealed_value else None
