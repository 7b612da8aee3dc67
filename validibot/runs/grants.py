"""Grants to custom validators: the network and the secrets that they ask for.

A site refuses what its backend cannot enforce, when the validator is registered and again at each
launch: the operator may have changed the backend since.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from validators.sdk.manifest import NetworkReach
from validibot.core.sealing import SealBroken
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import ExecutionBackend, ImageNeeds
from validibot.workflows.models import Validator
from validibot.workflows.validator_secrets import SecretSource, missing_secrets


class GrantRefused(Exception):
    """A custom validator cannot have what it asks for; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGrant:
    """Network and secrets of one execution; validators of the product have the empty one.

    `secrets` are values by name, for backends that do not read them themselves. `access` is what
    evidence has of it, {network, secrets: {name: which value, or its reference}}.
    """

    network: NetworkReach | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    access: Mapping[str, Any] = field(default_factory=dict)


def refusals(validator: Validator, backend: ExecutionBackend | None = None) -> Iterator[str]:
    """Yield a sentence for each need of a custom validator that a backend, the site's, cannot meet."""
    needs = ImageNeeds(
        organisation=str(validator.organisation_id),
        network=validator.network_reach,
        secrets=validator.secret_names,
    )
    return (backend or get_backend()).refusals(needs)


def grant_to(validator: Validator, backend: ExecutionBackend) -> ImageGrant:
    """Return what an execution of a validator gets. Raises GrantRefused."""
    if not validator.is_custom:
        return ImageGrant()
    if refusal := next(refusals(validator, backend), ""):
        raise GrantRefused(f"{validator}: {refusal}")
    if missing := missing_secrets(validator, backend.secret_source):
        text = _(
            "%(validator)s: `secrets.%(name)s` has no value. An owner or admin enters it under Settings →"
            " Validators."
        )
        raise GrantRefused(text % {"validator": validator, "name": missing[0]})
    rows = validator.secret_values.filter(name__in=validator.secret_names)
    used = {row.name: row for row in rows}
    access: dict[str, Any] = {"network": validator.network} if validator.network else {}
    if used:
        access["secrets"] = {name: row.label for name, row in used.items()}
    values = {}
    if backend.secret_source is SecretSource.DATABASE:
        try:
            values = {name: row.value for name, row in used.items()}
        except SealBroken as error:
            text = _(
                "%(validator)s: %(error)s An owner or admin enters the secrets again under Settings →"
                " Validators."
            )
            raise GrantRefused(text % {"validator": validator, "error": error}) from None
    return ImageGrant(network=validator.network_reach, secrets=values, access=access)
