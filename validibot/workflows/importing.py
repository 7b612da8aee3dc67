"""Import of a workflow file: checked completely before anything is written.

Nothing is written if a problem is found. Rows are checked by the same rules as everywhere else
(`full_clean` of the models), so a file cannot bring in what a form refuses.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models, transaction
from django.db.models import F

from validibot.accounts import audit
from validibot.accounts.models import Organisation, Project, Role, User
from validibot.accounts.projects import default_project
from validibot.core.echo import echo
from validibot.workflows import bundle
from validibot.workflows.checks import check_port, check_port_file, config_problems
from validibot.workflows.document import (
    MAX_PROBLEMS,
    ContentSection,
    ImportInvalid,
    ImportProblem,
    Place,
    ReadWorkflow,
    StepSection,
    WorkflowFile,
    read_workflow,
)
from validibot.workflows.editing import check_workflows, set_properties, track_creation
from validibot.workflows.fmu import request_probe
from validibot.workflows.models import Assertion, Sample, Step, StepFile, Validator, Workflow
from validibot.workflows.versions import edited, newest
from validibot.workflows.weather import store_by_digest

MAX_IMPORT_BYTES = 32 * 1024 * 1024
MAX_SAMPLE_BYTES = 5 * 1024 * 1024
_WORKFLOW_TEXTS = ("name", "description", "success_message", "accepted_types", "input_schema")
_PROPERTIES = {"input_days": "input_retention_days", "result_days": "result_retention_days"}
_STEP_TEXTS = (
    *("name", "description", "is_enabled", "when", "on_failure", "severity"),
    *("message", "success_message", "config", "weather", "scenario"),
)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The rows of a step that an import will write."""

    step: Step
    assertions: list[Assertion]
    files: list[tuple[StepFile, bytes | None]]


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """All rows that an import will write; every one of them is valid."""

    workflow: Workflow
    existing: Workflow | None
    steps: list[StepPlan]
    samples: list[Sample]
    # Those of `Workflow.SHARED_PROPERTIES` that the file gives.
    properties: dict[str, int | None]


def import_workflow(
    content: bytes,
    *,
    organisation: Organisation,
    author: User | None,
    project: Project | None = None,
    update: bool = False,
    slug: str = "",
) -> Workflow:
    """Import a text or a bundle; return the version that was created or changed.

    A workflow with the same slug is changed if `update` allows it (a version with runs gets a next
    version), and is a problem otherwise; so is a file of another slug than `slug`. A new workflow
    goes to `project`, or else to the default one. Retention that the file does not give stays as it
    is. Raises ImportInvalid with all problems, and StorageError.
    """
    read, files = read_file(content)
    if slug not in ("", read.file.slug):
        message = f"This is the file of {echo(read.file.slug)}, not of {echo(slug)}."
        raise ImportInvalid(read.problem(("slug",), message))
    return write_import(
        read, files, organisation=organisation, author=author, project=project, update=update
    )


def check_import(
    content: bytes, *, organisation: Organisation, author: User | None, update: bool
) -> None:
    """Check a text or a bundle as `import_workflow` does. Raises ImportInvalid."""
    read, files = read_file(content)
    plan_import(read, files, organisation=organisation, author=author, update=update)


def read_file(content: bytes) -> tuple[ReadWorkflow, Mapping[str, bytes]]:
    """Read a text or a bundle; return the workflow and the files of the bundle by path."""
    files: Mapping[str, bytes] = {}
    if bundle.is_bundle(content):
        content, files = bundle.read_bundle(content)
    return read_workflow(content), files


def write_import(
    read: ReadWorkflow,
    files: Mapping[str, bytes],
    *,
    organisation: Organisation,
    author: User | None,
    project: Project | None = None,
    update: bool = False,
) -> Workflow:
    """Import a workflow file that was read, with the files of its bundle; as `import_workflow`."""
    plan = plan_import(read, files, organisation=organisation, author=author, update=update)
    try:
        with transaction.atomic():
            if plan.existing is None:
                # Again, under a lock: another workflow may have been created since the check.
                check_workflows(Organisation.locked(organisation.pk))
            made = _write(plan, author=author, project=project)
            audit.record(organisation, "workflow.imported", f"{made.slug} v{made.version}")
            return made
    except ValidationError as error:
        raise ImportInvalid(read.problem((), error.messages[0])) from None
    except IntegrityError:
        message = f"A workflow {echo(read.file.slug)} was created at the same time. Import again."
        raise ImportInvalid(read.problem(("slug",), message)) from None


def plan_import(
    read: ReadWorkflow,
    files: Mapping[str, bytes],
    *,
    organisation: Organisation,
    author: User | None,
    update: bool,
) -> ImportPlan:
    """Check a workflow file against the catalogue and the organisation. Raises ImportInvalid.

    An author may use the validators that are open to the author's role.
    """
    membership = organisation.memberships.filter(user=author).first() if author else None
    planner = ImportPlanner(
        read, files, organisation, membership.role if membership else Role.OWNER
    )
    plan = planner.plan(update=update)
    if planner.problems:
        raise ImportInvalid(*planner.problems)
    return plan


@dataclass(slots=True)
class ImportPlanner:
    """The check of one file: makes unsaved rows and collects problems."""

    read: ReadWorkflow
    bundled: Mapping[str, bytes]
    organisation: Organisation
    role: str = Role.OWNER
    problems: list[ImportProblem] = field(default_factory=list)

    def plan(self, *, update: bool) -> ImportPlan:
        file = self.read.file
        existing = self._existing(file.slug)
        if existing and not update:
            there = f"A workflow {echo(file.slug)} exists already."
            self.report(("slug",), f"{there} Allow the import to update it, or change the slug.")
        if existing is None:
            self._check_room()
        workflow = Workflow(organisation=self.organisation, slug=file.slug)
        workflow.constants = [each.model_dump(exclude_unset=True) for each in file.constants]
        for name in _WORKFLOW_TEXTS:
            setattr(workflow, name, getattr(file, name))
        given = file.retention.model_fields_set
        properties = {_PROPERTIES[key]: getattr(file.retention, key) for key in given}
        for name, days in properties.items():
            setattr(workflow, name, days)
        self.check(workflow, ())
        steps = [self._step(index, section) for index, section in enumerate(file.steps)]
        return ImportPlan(workflow, existing, steps, list(self._samples(file)), properties)

    def _check_room(self) -> None:
        try:
            check_workflows(self.organisation)
        except ValidationError as error:
            self.report((), error.messages[0])

    def report(self, place: Place, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(self.read.problem(place, message))

    def check(self, row: models.Model, place: Place, *, without: Iterable[str] = ()) -> None:
        """Report what the model's own rules refuse, except for the fields `without`."""
        relations = {each.name for each in row._meta.concrete_fields if each.is_relation}  # noqa: SLF001
        try:
            row.full_clean(
                exclude=relations | set(without), validate_unique=False, validate_constraints=False
            )
        except ValidationError as error:
            for name, messages in error.message_dict.items():
                where = place if name == NON_FIELD_ERRORS else (*place, name)
                for message in messages if name not in without else ():
                    self.report(where, message)

    def _existing(self, slug: str) -> Workflow | None:
        versions = Workflow.objects.filter(organisation=self.organisation, slug=slug)
        return versions.order_by("-version").first()

    def _step(self, index: int, section: StepSection) -> StepPlan:
        place: Place = ("steps", index)
        step = Step(order=index + 1, **{name: getattr(section, name) for name in _STEP_TEXTS})
        step.signals = [each.model_dump() for each in section.signals]
        validator = self._validator((*place, "validator"), section.validator)
        if validator is None:
            return StepPlan(step, [], [])
        step.validator = validator
        self._check_config(step, place)
        self.check(step, place, without=("config",))
        assertions = [
            Assertion(order=order, **each.model_dump())
            for order, each in enumerate(section.assertions, start=1)
        ]
        for order, assertion in enumerate(assertions):
            self.check(assertion, (*place, "assertions", order))
        return StepPlan(step, assertions, list(self._files(section, validator, place)))

    def _check_config(self, step: Step, place: Place) -> None:
        """Report each problem of the settings at its own line."""
        validator = step.validator
        found = config_problems(
            step.config,
            validator=validator.title,
            engine=validator.engine,
            validation_type=validator.validation_type,
            schema=validator.settings_schema,
        )
        for each in found:
            self.report((*place, "config", *each.place), each.message)

    def _validator(self, place: Place, reference: str) -> Validator | None:
        slug, _, version = reference.partition("@")
        offered = Validator.objects.for_new_steps(self.organisation, self.role)
        known = offered.filter(slug=slug).order_by("-pk")
        found = known.filter(version=version).first() if version else known.first()
        if found is None:
            versions = ", ".join(f"{slug}@{each.version}" for each in known)
            others = offered.order_by("slug").values_list("slug", flat=True)
            slugs = ", ".join(dict.fromkeys(others))
            hint = f"There is {versions}." if versions else f"The catalogue has: {slugs}."
            self.report(place, f"There is no validator {echo(reference)}. {hint}")
        return found

    def _files(
        self, section: StepSection, validator: Validator, place: Place
    ) -> Iterator[tuple[StepFile, bytes | None]]:
        ports = {port["port_key"]: port for port in validator.ports}
        taken: set[str] = set()
        for index, each in enumerate(section.files):
            where = (*place, "files", index)
            try:
                check_port(each.port, validator=validator.title, ports=validator.resource_ports)
            except ValidationError as error:
                self.report((*where, "port"), " ".join(error.messages))
                continue
            if each.port in taken:
                self.report((*where, "port"), f"Port {echo(each.port)} has a file already.")
                continue
            taken.add(each.port)
            try:
                check_port_file(each.name, ports[each.port])
            except ValidationError as error:
                self.report((*where, "name"), " ".join(error.messages))
            kind = ports[each.port].get("type", "")
            row = StepFile(port_key=each.port, name=each.name, type=kind)
            content = self._content(each, where)
            if content is not None or self._reuse(row, each.sha256, where):
                yield row, content

    def _reuse(self, row: StepFile, sha256: str | None, place: Place) -> bool:
        """Let a row refer to a stored file of the same organisation; return whether there is one."""
        own = StepFile.objects.filter(step__workflow__organisation=self.organisation)
        stored = own.filter(sha256=sha256).first() if sha256 else None
        if stored:
            for name in ("uri", "storage_version", "size_bytes", "sha256"):
                setattr(row, name, getattr(stored, name))
        elif not self._has_problem(place):
            message = (
                f"The content of {row.name} is missing, and no workflow of this organisation has it."
                " Import a bundle with the file."
            )
            self.report(place, message)
        return stored is not None

    def _has_problem(self, place: Place) -> bool:
        name = ".".join(map(str, place))
        return any(problem.place.startswith(name) for problem in self.problems)

    def _samples(self, file: WorkflowFile) -> Iterator[Sample]:
        names: set[str] = set()
        for index, each in enumerate(file.samples):
            place: Place = ("samples", index)
            if each.filename in names:
                self.report((*place, "filename"), f"Two samples are called {echo(each.filename)}.")
            names.add(each.filename)
            content = self._content(each, place)
            if content is None:
                if not self._has_problem(place):
                    self.report(place, "The sample has no content: give `text` or `base64`.")
            elif len(content) > MAX_SAMPLE_BYTES:
                message = (
                    f"{each.filename} has {len(content):,} bytes; a sample may have"
                    f" {MAX_SAMPLE_BYTES:,}."
                )
                self.report(place, message)
            else:
                sample = Sample(filename=each.filename, title=each.title, passes=each.passes)
                sample.content, sample.metadata = content, each.metadata
                self.check(sample, place, without=("title", "content"))
                yield sample

    def _content(self, section: ContentSection, place: Place) -> bytes | None:
        """Return the bytes of a file that stand in the text or in the bundle."""
        content: bytes | None = None
        if section.text is not None:
            content = section.text.encode()
        elif section.base64 is not None:
            try:
                content = base64.b64decode(section.base64, validate=True)
            except (binascii.Error, ValueError) as error:
                self.report((*place, "base64"), f"This is not base64: {error}.")
        elif section.path is not None:
            content = self.bundled.get(section.path)
            if content is None:
                path = echo(section.path)
                message = f"The bundle has no file {path}. Import the zip file with it."
                self.report((*place, "path"), message)
        if content is not None and section.sha256 not in (None, _digest(content)):
            self.report((*place, "sha256"), f"The file's digest is {_digest(content)}.")
        return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(plan: ImportPlan, *, author: User | None, project: Project | None) -> Workflow:
    if plan.existing is None:
        workflow = plan.workflow
        workflow.author = author
        workflow.project = project or default_project(workflow.organisation)
        workflow.save()
        track_creation(workflow, "import")
        _write_steps(plan, workflow)
        return _with_samples(plan, workflow)
    with edited(plan.existing) as draft:
        for name in (*_WORKFLOW_TEXTS, "constants"):
            setattr(draft, name, getattr(plan.workflow, name))
        draft.save()
        for step in draft.steps.all():
            step.delete()
        _write_steps(plan, draft)
        # An editor who has the version open must not save over the import (see editing).
        Workflow.objects.filter(pk=draft.pk).update(revision=F("revision") + 1)
    if plan.properties:
        set_properties(plan.existing, **plan.properties)
    return _with_samples(plan, newest(plan.existing))


def _write_steps(plan: ImportPlan, workflow: Workflow) -> None:
    for each in plan.steps:
        each.step.workflow = workflow
        each.step.save()
        for assertion in each.assertions:
            assertion.step = each.step
            assertion.save()
        for row, content in each.files:
            row.step = each.step
            if content is not None:
                row.uri, row.storage_version, row.sha256 = store_by_digest(row.name, content)
                row.size_bytes = len(content)
            row.save()
            request_probe(row)


def _with_samples(plan: ImportPlan, workflow: Workflow) -> Workflow:
    """Replace the samples of a workflow by those of the plan, and return it."""
    workflow.samples.all().delete()
    for sample in plan.samples:
        sample.workflow = workflow
    Sample.objects.bulk_create(plan.samples)
    return workflow
