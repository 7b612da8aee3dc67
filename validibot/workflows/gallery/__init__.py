"""The gallery: workflow files that come with the product, each in a folder with its samples."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from validibot.accounts.models import Organisation, Project, User
from validibot.core.slugs import free_slug
from validibot.engines import ENGINES
from validibot.workflows.ai import endpoint_of
from validibot.workflows.document import ReadWorkflow, read_workflow
from validibot.workflows.importing import write_import
from validibot.workflows.models import Validator, Workflow

FOLDER = Path(__file__).parent
_FILE = "workflow.yaml"


@dataclass(frozen=True, slots=True)
class WorkflowTemplate:
    """A workflow file of the gallery."""

    folder: Path
    read: ReadWorkflow

    @property
    def slug(self) -> str:
        return self.folder.name

    @property
    def name(self) -> str:
        return self.read.file.name

    @property
    def description(self) -> str:
        return self.read.file.description

    @property
    def validators(self) -> list[str]:
        """The slugs of the validators that the steps use, without their versions."""
        return [step.validator.partition("@")[0] for step in self.read.file.steps]

    def sample(self, *, passes: bool) -> Path:
        """Return the file of the first sample that passes, or fails."""
        samples = self.read.file.samples
        return self.folder / next(str(each.path) for each in samples if each.passes is passes)

    def files(self) -> dict[str, bytes]:
        """Return the files beside the text by their path."""
        paths = [each for each in self.folder.rglob("*") if each.is_file() and each.name != _FILE]
        return {str(each.relative_to(self.folder)): each.read_bytes() for each in paths}


@cache
def all_templates() -> tuple[WorkflowTemplate, ...]:
    """Return all templates in the order of their folders."""
    return tuple(
        WorkflowTemplate(path.parent, read_workflow(path.read_bytes()))
        for path in sorted(FOLDER.glob(f"*/{_FILE}"))
    )


def usable_templates(organisation: Organisation) -> list[WorkflowTemplate]:
    """Return the templates whose validators are all in the catalogue and set up for an organisation."""
    known = set(
        Validator.objects.filter(organisation=None, is_active=True).values_list("slug", flat=True)
    )
    if endpoint_of(organisation) is None:
        known -= {each.manifest.slug for each in ENGINES.values() if each.manifest.asks_model}
    return [each for each in all_templates() if known.issuperset(each.validators)]


def use_template(
    template: WorkflowTemplate,
    *,
    organisation: Organisation,
    author: User,
    project: Project | None = None,
) -> Workflow:
    """Create a workflow from a template, with a slug that is free. Raises ImportInvalid."""
    taken = set(organisation.workflows.values_list("slug", flat=True))
    file = template.read.file.model_copy(update={"slug": free_slug(template.slug, taken)})
    return write_import(
        replace(template.read, file=file),
        template.files(),
        organisation=organisation,
        author=author,
        project=project,
    )
