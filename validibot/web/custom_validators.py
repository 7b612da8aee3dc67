"""The settings pages of custom validators: register a version, give it secrets and samples, archive it."""

import io
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts.models import User
from validibot.accounts.scope import Scope
from validibot.runs.access import NotAdmitted
from validibot.runs.backends import get_backend
from validibot.runs.grants import refusals
from validibot.runs.models import Run
from validibot.runs.registration import may_register, request_preparation
from validibot.runs.start import start
from validibot.submissions.content import Incoming, measure
from validibot.web.custom_validator_forms import (
    RegistrationForm,
    RolesForm,
    SampleFilesForm,
    SecretsForm,
)
from validibot.web.forms import refusals_on
from validibot.web.parameters import positive_number
from validibot.web.scope import page, permitted
from validibot.workflows import custom_validators as service, trials
from validibot.workflows.models import Validator, ValidatorSample
from validibot.workflows.validator_samples import check_sample, store_files
from validibot.workflows.validator_secrets import set_secrets


@permitted("validator.manage")
@require_http_methods(["GET", "POST"])
def custom_validators(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the versions that the organisation registered; POST registers one."""
    sent = (request.POST, request.FILES) if request.method == "POST" else ()
    form, is_open = RegistrationForm(*sent), may_register()
    if request.method == "POST" and not is_open:
        form.add_error(None, _("This site takes no validators of organisations. Ask its operator."))
    elif request.method == "POST" and form.is_valid():
        with refusals_on(form):
            made = _register(scope, form.cleaned_data)
            text = _("%(name)s is registered. Its job is being prepared.")
            if made.secrets:
                text = _("%(name)s is registered. Enter its secrets.")
            messages.success(request, text % {"name": made})
            return redirect("custom-validator", scope.organisation.slug, made.pk)
    return page(
        request,
        scope,
        "custom_validators.html",
        status=422 if form.errors else 200,
        form=form,
        is_open=is_open,
        validators=scope.organisation.custom_validators.order_by("slug", "-pk"),
    )


@transaction.atomic
def _register(scope: Scope, sent: dict[str, Any]) -> Validator:
    made = service.register(
        scope.organisation,
        manifest=sent["manifest"],
        image=sent["image"].strip(),
        roles=sent["roles"],
        refusals=refusals,
        samples=sent["samples"],
    )
    request_preparation(made)
    return made


@permitted("validator.manage")
@require_http_methods(["GET", "POST"])
def custom_validator(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Show the state of a version; POST says who may use the validator."""
    found = _find(scope, pk)
    form = _roles_form(found, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        service.set_roles(found, form.cleaned_data["roles"])
        messages.success(request, _("Saved for all versions of this validator."))
        return redirect("custom-validator", scope.organisation.slug, pk)
    return _version_page(request, scope, found, form=form)


@permitted("validator.manage")
@sensitive_post_parameters()
@require_POST
def validator_secrets(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Store and remove secrets of a version."""
    found, source = _find(scope, pk), get_backend().secret_source
    form = SecretsForm(request.POST, validator=found, source=source)
    if form.is_valid():
        with refusals_on(form), transaction.atomic():
            changed = set_secrets(found, form.given, forget=form.forgotten, source=source)
            if changed:
                request_preparation(found)
            messages.success(request, _("Secrets saved.") if changed else _("Nothing changed."))
            return redirect("custom-validator", scope.organisation.slug, pk)
    return _version_page(request, scope, found, secrets_form=form)


@permitted("validator.manage")
@require_POST
def validator_samples(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Keep the files of samples with a version."""
    found, form = _find(scope, pk), SampleFilesForm(request.POST, request.FILES)
    if form.is_valid():
        with refusals_on(form):
            store_files(found, form.cleaned_data["samples"])
            messages.success(request, _("Saved. The samples can be run."))
            return redirect("custom-validator", scope.organisation.slug, pk)
    return _version_page(request, scope, found, samples_form=form)


@permitted("validator.manage")
@require_POST
def run_sample(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Run a version on one of its samples, by a trial whose page shows all that comes of it."""
    samples = _find(scope, pk).samples.select_related("validator__organisation")
    sample = samples.filter(pk=positive_number(request.POST.get("id", ""))).first()
    if sample is None:
        messages.error(request, _("This version has no such sample. Choose one of those below."))
        return redirect("custom-validator", scope.organisation.slug, pk)
    try:
        run = _start(sample, scope.user)
    except (NotAdmitted, ValidationError) as error:
        told = [error.message] if isinstance(error, NotAdmitted) else error.messages
        messages.error(request, " ".join(told))
        return redirect("custom-validator", scope.organisation.slug, pk)
    return redirect("run", scope.organisation.slug, run.pk)


def _start(sample: ValidatorSample, user: User) -> Run:
    """Start the trial of a sample. Raises NotAdmitted and ValidationError."""
    check_sample(sample)
    hidden = trials.begin_sample(sample, author=user)
    file = io.BytesIO(sample.content or b"")
    incoming = Incoming(file, sample.filename, *measure(file))
    run = start(hidden, incoming, user=user, source=Run.Source.TRIAL).run
    ValidatorSample.objects.filter(pk=sample.pk).update(last_trial=hidden)
    return run


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample with its last run, while that is kept; `agrees` is whether the manifest expected it."""

    sample: ValidatorSample
    run: Run | None

    @property
    def agrees(self) -> bool | None:
        """None if the run has not ended, or nothing was expected of it."""
        if self.run is None or self.run.ended_at is None or self.sample.passes is None:
            return None
        return self.run.result == ("PASS" if self.sample.passes else "FAIL")


def _shown_samples(found: Validator) -> list[ShownSample]:
    samples = list(found.samples.defer("content").annotate(has_file=Q(content__isnull=False)))
    runs = Run.objects.filter(workflow__in=[each.last_trial_id for each in samples])
    last = {run.workflow_id: run for run in runs}
    return [ShownSample(each, last.get(each.last_trial_id or 0)) for each in samples]


def _version_page(
    request: HttpRequest,
    scope: Scope,
    found: Validator,
    *,
    form: RolesForm | None = None,
    secrets_form: SecretsForm | None = None,
    samples_form: SampleFilesForm | None = None,
) -> HttpResponse:
    """Return the page of a version, with the form that was refused, if there is one."""
    source = get_backend().secret_source
    forms_shown = {
        "form": form or _roles_form(found),
        "secrets_form": secrets_form or SecretsForm(validator=found, source=source),
        "samples_form": samples_form or SampleFilesForm(),
    }
    workflows = found.steps.filter(workflow__is_trial=False).values("workflow__slug")
    return page(
        request,
        scope,
        "custom_validator.html",
        status=422 if any(each.errors for each in forms_shown.values()) else 200,
        validator=found,
        workflow_count=workflows.distinct().count(),
        samples=_shown_samples(found),
        **forms_shown,
    )


def _roles_form(found: Validator, posted: Any = None) -> RolesForm:
    roles = found.roles or [role.value for role in service.author_roles()]
    return RolesForm(posted, initial={"roles": roles})


@permitted("validator.manage")
@require_POST
def archive_validator(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Archive a version, or take an archived one back, as `state` says."""
    found, state = _find(scope, pk), request.POST.get("state", "")
    if state in ("archive", "restore"):
        archived = state == "archive"
        service.set_archived(found, archived=archived)
        text = _("%s is archived. Steps that have it keep it.") if archived else _("%s is back.")
        messages.success(request, text % found)
    else:
        messages.error(request, _("Choose whether to archive the version or to take it back."))
    return redirect("custom-validator", scope.organisation.slug, pk)


@permitted("validator.manage")
@require_POST
def prepare_again(request: HttpRequest, scope: Scope, pk: int) -> HttpResponse:
    """Have the job of a version made again that was refused or got lost."""
    found = _find(scope, pk)
    request_preparation(found)
    messages.success(request, _("The job is being prepared."))
    return redirect("custom-validator", scope.organisation.slug, pk)


def _find(scope: Scope, pk: int) -> Validator:
    """Return a validator of the organisation. Raises Http404."""
    found: Validator = get_object_or_404(scope.organisation.custom_validators, pk=pk)
    return found
