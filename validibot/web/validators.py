"""The catalogue of validators: a list, and a page for each with all that an author needs to know."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _, ngettext
from django.views.decorators.http import require_GET

from validibot.accounts.models import Organisation
from validibot.accounts.scope import Scope
from validibot.engines import get_engine
from validibot.web.editor.config_schema import Setting, SettingKind, settings_of
from validibot.web.scope import page, permitted
from validibot.workflows.ai import endpoint_of, usage_of
from validibot.workflows.custom_validators import author_roles
from validibot.workflows.gallery import usable_templates
from validibot.workflows.models import (
    AiEndpoint,
    ModelEndpoint,
    MonthlyAiUsage,
    OrganisationAiEndpoint,
    Validator,
)
from validibot.workflows.yaml_writer import write_yaml

_MEBIBYTE = 1024 * 1024


@permitted("member.view")
@require_GET
def validators(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the newest active version of each validator of the product and the organisation."""
    known = Validator.objects.known_to(scope.organisation).filter(is_active=True)
    newest = known.order_by("slug", "-pk").distinct("slug")
    listed = sorted(newest, key=lambda each: each.title.casefold())
    may_register = scope.can("validator.manage")
    return page(
        request,
        scope,
        "validators.html",
        groups=_groups(listed),
        is_empty=not listed,
        may_register=may_register,
    )


@permitted("member.view")
@require_GET
def validator(request: HttpRequest, scope: Scope, slug: str) -> HttpResponse:
    """Show a validator; the parameter `version` selects another version than the newest."""
    known = Validator.objects.known_to(scope.organisation).filter(slug=slug)
    versions = list(known.order_by("-is_active", "-pk"))
    wanted = request.GET.get("version")
    shown = next((each for each in versions if wanted in (None, each.version)), None)
    if shown is None:
        raise Http404
    usable = usable_templates(scope.organisation)
    templates = [each for each in usable if slug in each.validators]
    roles = [str(each.label) for each in author_roles() if not shown.roles or each in shown.roles]
    return page(
        request,
        scope,
        "validator.html",
        validator=shown,
        versions=versions,
        rows=[*map(_row, settings_of(shown))],
        limits=[*_limits(shown, scope.organisation)],
        roles=", ".join(roles),
        may_use=scope.can("workflow.edit") and shown.is_active,
        may_register=scope.can("validator.manage"),
        templates=templates,
        example=_example(slug, templates),
    )


def _groups(listed: list[Validator]) -> list[tuple[str, str, list[Validator]]]:
    """Return the validators in groups, each with a title and what its validators have in common."""
    inside = [each for each in listed if each.in_process]
    return [
        (
            _("Inside the platform"),
            _("These answer within the run, and can be tried on a file while a step is edited."),
            inside,
        ),
        (
            _("Of this organisation"),
            _("Members of this organisation registered these images."),
            [each for each in listed if each.is_custom],
        ),
        (
            _("In containers"),
            _("These run apart from the platform, with limits of their own on time and memory."),
            [each for each in listed if not each.in_process and not each.is_custom],
        ),
    ]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting in the table of the catalogue page."""

    setting: Setting
    kind: str
    default: str


def _row(setting: Setting) -> SettingRow:
    """Return a setting with its kind and default in words."""
    kinds = {
        SettingKind.TEXT: _("text"),
        SettingKind.CODE: _("text of several lines"),
        SettingKind.LINES: _("list of texts"),
        SettingKind.INTEGER: _("whole number"),
        SettingKind.NUMBER: _("number"),
        SettingKind.BOOLEAN: _("yes or no"),
        SettingKind.CHOICE: _("one of: %s") % _names(setting),
        SettingKind.CHOICES: _("some of: %s") % _names(setting),
        SettingKind.VALUE: _("number, text, yes or no"),
        SettingKind.YAML: _("YAML"),
        SettingKind.ROWS: _("rows of: %s") % ", ".join(each.name for each in setting.columns),
        SettingKind.MAP: _("values by name"),
    }
    kind = kinds[setting.kind]
    if bounds := _bounds(setting):
        kind = f"{kind}, {bounds}"
    is_empty = setting.default is None or setting.default in ("", [], {})
    default = "" if is_empty else write_yaml(setting.default).removesuffix("...\n").strip()
    return SettingRow(setting, kind, default)


def _names(setting: Setting) -> str:
    return ", ".join(value for value, _title in setting.choices)


def _bounds(setting: Setting) -> str:
    """Return the least and the greatest value of a number, and the length of a text."""
    if setting.max_length is not None:
        text = ngettext("at most %s character", "at most %s characters", setting.max_length)
        return text % f"{setting.max_length:,}"
    least, most = setting.minimum, setting.maximum
    if least is not None and most is not None:
        return _("%(least)g to %(most)g") % {"least": least, "most": most}
    if least is not None:
        return _("from %g") % least
    return _("up to %g") % most if most is not None else ""


def _limits(validator: Validator, organisation: Organisation) -> Iterator[tuple[str, str]]:
    """Yield the limits of one check: their name and their value."""
    if validator.in_process:
        manifest = get_engine(validator.engine).manifest
        yield _("Largest document"), filesizeformat(manifest.max_bytes)
        yield _("Processor time"), _("%g s") % manifest.seconds
        yield _("Memory"), filesizeformat(manifest.memory)
        if manifest.asks_model:
            yield from _model_limits(organisation)
    else:
        yield _("Time"), _("%g s") % validator.timeout_seconds
        yield _("Memory"), filesizeformat(validator.memory_mb * _MEBIBYTE)
    if validator.is_custom:
        yield _("Network"), validator.get_network_display()
    if validator.secrets:
        yield _("Secrets"), ", ".join(validator.secret_names)


def _model_limits(organisation: Organisation) -> Iterator[tuple[str, str]]:
    """Yield the limits of the language model, and what the organisation used this month."""
    endpoint = endpoint_of(organisation)
    if endpoint is None:
        yield _("Language model"), _("none; an owner or admin sets it in the settings")
        return
    own, site = isinstance(endpoint, OrganisationAiEndpoint), AiEndpoint.load()
    yield _("Language model"), endpoint.model
    whose = _("%s, of this organisation") if own else _("%s, of this site")
    yield _("Endpoint"), whose % endpoint.host
    yield _("Document for the model"), filesizeformat(site.max_document_bytes)
    yield _("Time of a review"), _("%g s") % site.timeout_seconds
    usage = usage_of(organisation, own=own)
    limit = "" if own or not site.monthly_tokens else f"{site.monthly_tokens:,}"
    yield _("Tokens this month"), _used(f"{usage.tokens:,}", limit)
    if endpoint.prompt_price or endpoint.answer_price:
        yield _("Cost this month"), cost_of_month(endpoint, usage)


def cost_of_month(endpoint: ModelEndpoint, usage: MonthlyAiUsage) -> str:
    """Return the cost of this month, and the budget if there is one, with their currency."""
    budget = endpoint.monthly_budget and f"{endpoint.monthly_budget:,.2f}"
    return f"{_used(f'{usage.cost:,.2f}', budget)} {endpoint.currency}"


def _used(used: str, limit: object) -> str:
    return _("%(used)s of %(limit)s") % {"used": used, "limit": limit} if limit else used


def _example(slug: str, templates: list[Any]) -> str:
    """Return a step with the validator as it stands in a workflow file, from a template."""
    steps = (step for template in templates for step in template.read.file.steps)
    found = next((step for step in steps if step.validator.partition("@")[0] == slug), None)
    if found is None:
        return ""
    fields = found.model_dump(exclude_defaults=True, exclude={"assertions", "signals"})
    return write_yaml([fields])
