"""The plan of believable runs: workflows with their share of the runs, people, and rules of findings."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction

from validibot.accounts.models import Membership, Organisation, Project, Role, User
from validibot.setup.demo import Say, make_workflow
from validibot.workflows.gallery import usable_templates
from validibot.workflows.models import Step, Workflow
from validibot.workflows.select import enabled_steps
from validibot.workflows.versions import freeze

_PEOPLE = ("Ada", "Alan", "Edith", "Grace", "Hedy", "Jean", "Katherine", "Tim")
_PROJECTS = (("Buildings", "buildings"), ("Metering", "metering"), ("Procurement", "procurement"))
# The last workflow has so few of the runs; the others have the more the further in front they are.
RARE_SHARE = 0.001
_PASS_RATES = (0.93, 0.82, 0.71, 0.88, 0.64)
# Typical seconds of a step in this process, and of a container.
_ENGINE_SECONDS, _CONTAINER_SECONDS = 0.4, 25.0


class SeedError(Exception):
    """The runs cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class SeedRule:
    """A rule that findings come from; `{n}` in its texts becomes a number."""

    severity: str
    code: str
    message: str
    path: str = ""


_ENERGYPLUS = (
    SeedRule("ERROR", "energyplus.severe", "Zone {n} has no thermostat.", "Zone,Zone {n}"),
    SeedRule("ERROR", "energyplus.fatal", "Surface {n} refers to a construction that is missing."),
    SeedRule("WARNING", "energyplus.warning", "Schedule {n} has gaps, which are taken as 0."),
    SeedRule("INFO", "energyplus.note", "Warm-up converged after {n} days."),
)
_XML = (
    SeedRule("ERROR", "xml.schema", "Element 'serial' of item {n} is missing.", "/list/item[{n}]"),
    SeedRule("ERROR", "xml.schema.type", "'{n}?' is not a whole number.", "/list/item[{n}]/count"),
    SeedRule("WARNING", "rule.date", "Item {n} has a date in the future.", "/list/item[{n}]/date"),
    SeedRule("INFO", "rule.note", "Item {n} uses a retired code.", "/list/item[{n}]/code"),
)
_TABLE = (
    SeedRule("ERROR", "table.range", "Row {n}: 'latitude' is outside -90 to 90.", "/rows/{n}"),
    SeedRule("ERROR", "table.required", "Row {n}: 'name' is empty.", "/rows/{n}"),
    SeedRule("WARNING", "table.date", "Row {n}: 'measured' is older than a year.", "/rows/{n}"),
    SeedRule("INFO", "table.unit", "Row {n}: 'depth' is taken as metres.", "/rows/{n}"),
)
_JSON = (
    SeedRule("ERROR", "json.schema", "'serial' is a required property.", "/readings/{n}"),
    SeedRule("ERROR", "json.schema.type", "'{n} kWh' is not a number.", "/readings/{n}/kwh"),
    SeedRule("ERROR", "assertion.failed", "Reading {n} is not between 0 and 50000 kWh."),
    SeedRule("WARNING", "assertion.failed", "Reading {n} is estimated.", "/readings/{n}"),
    SeedRule("INFO", "assertion.passed", "There are {n} readings."),
)
# By the slug of a validator; all others have the rules of JSON documents.
_RULES = {
    "energyplus": _ENERGYPLUS,
    "xml-schema": _XML,
    "schematron": _XML,
    "basic": _XML,
    "tabular": _TABLE,
}


@dataclass(frozen=True, slots=True)
class SeedWorkflow:
    """A workflow of the plan: its runs are those with a share from `low` to below `high`."""

    workflow: Workflow
    low: float
    high: float
    pass_rate: float

    @property
    def steps(self) -> list[Step]:
        return enabled_steps(self.workflow)

    @property
    def seconds(self) -> float:
        """The typical duration of a run."""
        kinds = (each.validator.in_process for each in self.steps)
        return sum(_ENGINE_SECONDS if kind else _CONTAINER_SECONDS for kind in kinds)

    @property
    def rules(self) -> tuple[SeedRule, ...]:
        return _RULES.get(self.steps[-1].validator.slug, _JSON)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """The workflows and people of an organisation that its runs are made from."""

    organisation: Organisation
    people: list[int]
    workflows: list[SeedWorkflow]


def prepare(organisation: Organisation, say: Say) -> SeedPlan:
    """Create or update colleagues, projects and the workflows of the gallery; return the plan.

    Raises SeedError without validators; ImportInvalid and StorageError as an import does.
    """
    templates = usable_templates(organisation)
    if not templates:
        raise SeedError(
            "There are no validators to make workflows of: run `manage.py sync_validators` first."
        )
    with transaction.atomic():
        people = [_colleague(organisation, name) for name in _PEOPLE]
        projects = [_project(organisation, *each) for each in _PROJECTS]
    workflows = []
    for place, template in enumerate(templates):
        project = projects[place % len(projects)]
        made = make_workflow(template, project=project, author=people[0], say=say)
        workflows.append(freeze(made))
    keys = [each.pk for each in people]
    return SeedPlan(organisation, keys, list(_with_shares(workflows)))


def _with_shares(workflows: list[Workflow]) -> Iterator[SeedWorkflow]:
    """Yield the workflows with shares as 1, 1/2, 1/3, …; the last one has `RARE_SHARE`."""
    weights = [1 / place for place in range(1, len(workflows))]
    scale = (1 - RARE_SHARE) / (sum(weights) or 1)
    shares = [*(weight * scale for weight in weights), RARE_SHARE if weights else 1.0]
    low = 0.0
    for place, (workflow, share) in enumerate(zip(workflows, shares, strict=True)):
        high = 1.0 if place == len(shares) - 1 else low + share
        yield SeedWorkflow(workflow, low, high, _PASS_RATES[place % len(_PASS_RATES)])
        low = high


def _colleague(organisation: Organisation, name: str) -> User:
    email = f"{name.lower()}@{organisation.slug}.example"
    found = User.objects.filter(email=email).first()
    user = found or User.objects.create_user(email, name=name)  # without a password
    Membership.objects.get_or_create(
        organisation=organisation, user=user, defaults={"role": Role.EXECUTOR}
    )
    return user


def _project(organisation: Organisation, name: str, slug: str) -> Project:
    defaults = {"name": name}
    return Project.objects.get_or_create(organisation=organisation, slug=slug, defaults=defaults)[0]
