"""Samples of custom validators: those of the manifest, and their files, which are kept with the version."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Length
from django.utils.translation import gettext as _

from validators.sdk.manifest import ValidatorManifest
from validibot.accounts import audit
from validibot.accounts.models import Organisation
from validibot.workflows.checks import config_problems
from validibot.workflows.document import FILE_NAME, MAX_SAMPLES
from validibot.workflows.models import JobState, Validator, ValidatorSample, Workflow

# Of the samples of a version together.
MAX_BYTES = 5 * 1024 * 1024
# Of the samples of an organisation together, those of archived versions included.
MAX_ORGANISATION_BYTES = 50 * 1024 * 1024
MAX_NAME = 150
MAX_FILE_NAME = 200
# Of the sample of a version whose manifest names none.
UNNAMED = "sample"


def sample_problems(manifest: ValidatorManifest) -> Iterator[str]:
    """Yield what is wrong with the samples of a manifest, each with its place."""
    if (count := len(manifest.samples)) > MAX_SAMPLES:
        text = _("`%(name)s` has %(count)s entries; at most %(limit)s are allowed.")
        yield text % {"name": "samples", "count": count, "limit": MAX_SAMPLES}
        return
    paths: dict[str, Path] = {}
    for number, sample in enumerate(manifest.samples):
        place = f"samples.{number}"
        for key, value in (("name", sample.name), ("title", sample.title)):
            if not 0 < len(value) <= MAX_NAME:
                text = _("`%(place)s` has %(count)d characters; it must have 1 to %(limit)d.")
                yield text % {"place": f"{place}.{key}", "count": len(value), "limit": MAX_NAME}
        if paths.setdefault(sample.path.name, sample.path) != sample.path:
            text = _("`%(place)s`: two samples have different files named %(name)s. Rename one.")
            yield text % {"place": f"{place}.file", "name": repr(sample.path.name)}
        if problem := _file_problem(manifest, sample.path):
            yield f"`{place}.file`: {problem}"
        for problem in _settings_problems(manifest, sample.inputs):
            yield f"`{place}.inputs`: {problem}"


def _file_problem(manifest: ValidatorManifest, path: Path) -> str:
    """Return what is wrong with the name of a sample's file, or ""."""
    if not re.search(FILE_NAME, path.name) or len(path.name) > MAX_FILE_NAME:
        text = _("The name %s cannot be used. Rename the file to letters and digits.")
        return text % repr(path.name[:80])
    if path.suffix.lower() not in (each.extension for each in manifest.accepts):
        return _("%s has none of the extensions in `accepts`.") % repr(path.name)
    return ""


def _settings_problems(manifest: ValidatorManifest, settings: Mapping[str, object]) -> list[str]:
    schema = manifest.settings.json_schema() if manifest.settings else None
    try:
        problems = config_problems(
            settings,
            validator=manifest.title,
            engine="",
            validation_type=manifest.validation_type,
            schema=schema,
        )
    except ValueError:
        return []  # of the schema itself, which is refused at its own place
    return [
        f"{'.'.join(map(str, each.place))}: {each.message}" if each.place else each.message
        for each in problems[:3]
    ]


def create_samples(validator: Validator, manifest: ValidatorManifest) -> None:
    """Create the samples that the manifest of a new version names, without their files."""
    ValidatorSample.objects.bulk_create(
        ValidatorSample(
            validator=validator,
            name=each.name,
            title=each.title,
            filename=each.path.name,
            passes=each.expect == "pass",
            settings=each.inputs,
        )
        for each in manifest.samples
    )


@transaction.atomic
def store_files(validator: Validator, files: Mapping[str, bytes]) -> None:
    """Keep the files of samples with a version; a file of the same name is replaced.

    Raises ValidationError with the key `samples`.
    """
    owner = validator.organisation
    assert owner is not None, f"{validator} belongs to the product"
    Organisation.locked(owner.pk)
    samples = list(validator.samples.defer("content"))
    if all(each.passes is None for each in samples):
        changed = [_unnamed_sample(validator, files)]
    else:
        names = {each.filename for each in samples}
        if unknown := [name for name in files if name not in names]:
            text = _("The manifest names no sample %(name)s, but: %(known)s.")
            told = {"name": repr(unknown[0][:80]), "known": ", ".join(sorted(names))}
            raise ValidationError({"samples": text % told})
        changed = [each for each in samples if each.filename in files]
    for sample in changed:
        sample.content = files[sample.filename]
        sample.save()
    _check_size(validator, owner)
    changes = {"samples": ("", ", ".join(files))}
    audit.record(owner, "validator.samples_stored", validator, changes)


def _unnamed_sample(validator: Validator, files: Mapping[str, bytes]) -> ValidatorSample:
    if len(files) > 1:
        text = _("The manifest names no samples, so the version keeps one file. Choose one.")
        raise ValidationError({"samples": text})
    (filename,) = files
    if not filename.lower().endswith(tuple(each["extension"] for each in validator.accepts)):
        known = ", ".join(each["extension"] for each in validator.accepts)
        text = _("%(name)s is not a file that this version takes; it takes: %(known)s.")
        raise ValidationError({"samples": text % {"name": filename, "known": known}})
    found = validator.samples.first() or ValidatorSample(validator=validator, name=UNNAMED)
    found.title = filename[:MAX_NAME]
    found.filename = filename
    return found


def _check_size(validator: Validator, owner: Organisation) -> None:
    """Raise ValidationError if the samples of the version, or of all versions, are too large."""
    if (size := _stored_bytes(validator.samples.all())) > MAX_BYTES:
        text = _("The samples of a version have at most %(limit)s bytes together, not %(size)s.")
        counts = {"size": f"{size:,}", "limit": f"{MAX_BYTES:,}"}
        raise ValidationError({"samples": text % counts})
    everything = _stored_bytes(ValidatorSample.objects.filter(validator__organisation=owner))
    if everything > MAX_ORGANISATION_BYTES:
        text = _(
            "The samples of all versions of %(name)s would have %(size)s bytes together; at most %(limit)s"
            " are kept. Choose smaller files, or replace large samples of other versions."
        )
        counts = {"size": f"{everything:,}", "limit": f"{MAX_ORGANISATION_BYTES:,}"}
        raise ValidationError({"samples": text % {"name": owner.name, **counts}})


def _stored_bytes(samples: "QuerySet[ValidatorSample]") -> int:
    stored = samples.exclude(content=None).aggregate(total=Sum(Length("content")))
    return stored["total"] or 0


def check_sample(sample: ValidatorSample) -> None:
    """Raise ValidationError unless the sample has its file, and its version can run."""
    validator = sample.validator
    if sample.content is None:
        text = _("The sample has no file yet. Add %s first.")
        raise ValidationError(text % sample.filename)
    if not validator.is_active:
        raise ValidationError(_("%s is archived. Take it back to run its samples.") % validator)
    if validator.job_state != JobState.READY:
        text = _("%(name)s cannot run yet; its state is: %(state)s.")
        state = validator.get_job_state_display()
        raise ValidationError(text % {"name": validator, "state": state})


def sample_of(workflow: Workflow) -> ValidatorSample | None:
    """Return the sample whose last trial the workflow is, without its file."""
    if not workflow.is_trial:
        return None
    return ValidatorSample.objects.filter(last_trial=workflow).defer("content").first()
