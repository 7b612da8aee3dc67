"""Custom validators: an organisation registers an image with a manifest of its own.

A version is registered once and never changes, so results keep their meaning; it can be archived. Its
manifest is that of our own validators, within the limits below.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from validators.sdk.manifest import ManifestInvalid, ValidatorManifest, parse_manifest
from validibot.accounts import audit
from validibot.accounts.models import Organisation, Role
from validibot.accounts.scope import PERMISSIONS
from validibot.workflows.catalogue import container_fields
from validibot.workflows.document import unstorable_places
from validibot.workflows.models import JobState, Validator
from validibot.workflows.validator_samples import create_samples, sample_problems, store_files

MAX_MANIFEST_CHARACTERS = 100_000
MAX_VERSIONS = 200
MAX_SECONDS = 3600
MAX_MEMORY_MB = 4096
MAX_ENTRIES = 200
VALIDATION_TYPE = "CUSTOM_VALIDATOR"
_JOB_PREFIX = "custom-"
_NAME = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_REPOSITORY = rf"(?:[a-z0-9.-]+(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
_BY_DIGEST = re.compile(rf"{_REPOSITORY}@sha256:[0-9a-f]{{64}}")
_BY_TAG = re.compile(rf"{_REPOSITORY}:[\w][\w.-]{{0,127}}")


def author_roles() -> list[Role]:
    """Return the roles that write workflows."""
    return [role for role in Role if "workflow.edit" in PERMISSIONS[role]]


def is_custom_job(name: str) -> bool:
    """Return whether the name of a job is that of a custom validator, which has the number of its row."""
    return bool(re.fullmatch(rf"{_JOB_PREFIX}[1-9][0-9]*", name))


def register(
    organisation: Organisation,
    *,
    manifest: str,
    image: str,
    roles: Sequence[str],
    refusals: Callable[[Validator], Iterable[str]],
    samples: Mapping[str, bytes] | None = None,
) -> Validator:
    """Register a version from the text of its manifest; its job is yet to be prepared.

    `image` names the image by digest, `roles` those that may give the validator to steps, and
    `refusals` returns what the site cannot give it. `samples` are the files of its samples by name.
    Raises ValidationError, whose keys are `manifest`, `image` and `samples`.
    """
    problems: dict[str, list[str]] = {}
    read = _read(manifest, problems)
    if read and (found := [*_problems(read)]):
        problems["manifest"] = found[:10]
    if not _is_image(image):
        problems["image"] = [_image_text(image)]
    if problems or read is None:
        raise ValidationError(problems)
    with transaction.atomic():
        Organisation.locked(organisation.pk)
        _check_free(organisation, read)
        made = Validator(
            organisation=organisation,
            slug=read.slug,
            version=read.version,
            roles=_known_roles(roles),
            job_state=JobState.INCOMPLETE if read.secrets else JobState.PENDING,
            network=read.network,
            secrets=[{"name": name, **each.model_dump()} for name, each in read.secrets.items()],
            **container_fields(read) | {"image": image, "job": ""},
        )
        if found := [*refusals(made)]:
            raise ValidationError({"manifest": found})
        made.save()
        # Not the name in the manifest, which another organisation may have used.
        made.job = f"{_JOB_PREFIX}{made.pk}"
        made.save(update_fields=["job"])
        audit.record(organisation, "validator.registered", made, {"image": (None, image)})
        create_samples(made, read)
        if samples:
            store_files(made, samples)
    return made


@transaction.atomic
def set_roles(validator: Validator, roles: Sequence[str]) -> None:
    """Say which roles may give the validator to steps, in all its versions."""
    versions = Validator.objects.filter(organisation=validator.organisation_id, slug=validator.slug)
    known = _known_roles(roles)
    versions.update(roles=known)
    changes = {"roles": (validator.roles, known)}
    audit.record(_owner_of(validator), "validator.roles_changed", validator, changes)


@transaction.atomic
def set_archived(validator: Validator, *, archived: bool) -> None:
    """Archive a version, so that no new step has it, or take it back."""
    changed = Validator.objects.filter(pk=validator.pk, is_active=archived)
    if changed.update(is_active=not archived):
        action = "validator.archived" if archived else "validator.restored"
        audit.record(_owner_of(validator), action, validator)


def _owner_of(validator: Validator) -> Organisation:
    assert validator.organisation is not None, f"{validator} belongs to the product"
    return validator.organisation


def _read(text: str, problems: dict[str, list[str]]) -> ValidatorManifest | None:
    if len(text) > MAX_MANIFEST_CHARACTERS:
        message = _("The manifest has %(count)s characters; at most %(limit)s are read.")
        counts = {"count": f"{len(text):,}", "limit": f"{MAX_MANIFEST_CHARACTERS:,}"}
        problems["manifest"] = [message % counts]
        return None
    try:
        read = parse_manifest(text)
    except ManifestInvalid as error:
        problems["manifest"] = [str(error)]
        return None
    if place := next(unstorable_places(read.model_dump(mode="json")), None):
        message = _("`%s` contains the character U+0000, which cannot be stored. Remove it.")
        problems["manifest"] = [message % ".".join(map(str, place))]
        return None
    return read


def _problems(manifest: ValidatorManifest) -> Iterator[str]:
    """Yield what our own validators may say and custom ones may not, each with its place."""
    if manifest.validation_type != VALIDATION_TYPE:
        yield _("`validation_type` is %(value)s; a custom validator has %(wanted)s.") % {
            "value": repr(manifest.validation_type),
            "wanted": repr(VALIDATION_TYPE),
        }
    limits = {"timeout_seconds": MAX_SECONDS, "memory_mb": MAX_MEMORY_MB}
    for name, limit in limits.items():
        if (value := getattr(manifest.budgets, name)) > limit:
            yield _("`budgets.%(name)s` is %(value)s; at most %(limit)s is allowed.") % {
                "name": name,
                "value": value,
                "limit": limit,
            }
    for name in ("accepts", "input_ports", "resource_ports", "outputs", "assertions"):
        if (count := len(getattr(manifest, name))) > MAX_ENTRIES:
            text = _("`%(name)s` has %(count)s entries; at most %(limit)s are allowed.")
            yield text % {"name": name, "count": count, "limit": MAX_ENTRIES}
    for number, port in enumerate(manifest.resource_ports):
        if port.default:
            text = _(
                "`resource_ports.%(number)s.default`: a custom validator has no standard files."
            )
            yield text % {"number": number}
    yield from _twice(manifest)
    yield from _wrong_settings(manifest)
    yield from sample_problems(manifest)


def _twice(manifest: ValidatorManifest) -> Iterator[str]:
    ports = [port.port_key for port in manifest.input_ports]
    ports += [port.port_key for port in manifest.resource_ports]
    outputs = [output.slug for output in manifest.outputs]
    samples = [sample.name for sample in manifest.samples]
    places = {"port_key": ports, "outputs.slug": outputs, "samples.name": samples}
    for place, names in places.items():
        for name in sorted({each for each in names if names.count(each) > 1}):
            text = _("`%(place)s` %(name)s stands there twice; each needs a name of its own.")
            yield text % {"place": place, "name": repr(name)}


def _wrong_settings(manifest: ValidatorManifest) -> Iterator[str]:
    if manifest.settings is None:
        return
    schema = manifest.settings.json_schema()
    try:
        jsonschema_rs.Draft202012Validator(schema)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        yield _("`settings` is not a valid JSON Schema: %s.") % reason.rstrip(".")


def _check_free(organisation: Organisation, manifest: ValidatorManifest) -> None:
    """Raise ValidationError if the slug belongs to the product, or the version is registered."""
    known = Validator.objects.filter(slug=manifest.slug)
    if known.filter(organisation=None).exists():
        text = _("`slug` %s is that of a validator of the product. Choose another.")
        raise ValidationError({"manifest": text % repr(manifest.slug)})
    own = Validator.objects.filter(organisation=organisation)
    if own.filter(slug=manifest.slug, version=manifest.version).exists():
        text = _(
            "`version` %(version)s of %(slug)s is registered and never changes. Raise the version."
        )
        names = {"version": repr(manifest.version), "slug": repr(manifest.slug)}
        raise ValidationError({"manifest": text % names})
    if own.count() >= MAX_VERSIONS:
        text = _("%(name)s has %(count)d versions of validators, which is the limit.")
        counts = {"name": organisation.name, "count": MAX_VERSIONS}
        raise ValidationError({"manifest": text % counts})


def _is_image(image: str) -> bool:
    if len(image) > 300:
        return False
    by_tag = settings.CUSTOM_VALIDATOR_TAGS and _BY_TAG.fullmatch(image)
    return bool(_BY_DIGEST.fullmatch(image) or by_tag)


def _image_text(image: str) -> str:
    text = _(
        "%s does not name an image by its digest, as in registry.example.org/team/name@sha256:… with 64"
        " hexadecimal digits. A tag could name another image tomorrow."
    )
    return text % repr(image[:100])


def _known_roles(roles: Sequence[str]) -> list[Any]:
    known = [role.value for role in author_roles()]
    if wrong := [role for role in roles if role not in known]:
        message = _("The role %(role)s writes no workflows; choose among: %(known)s.")
        raise ValidationError(message % {"role": repr(str(wrong[0])), "known": ", ".join(known)})
    return [role for role in known if role in roles]
