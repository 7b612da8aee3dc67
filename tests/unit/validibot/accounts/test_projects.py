"""Projects: distinct names, one default, and where their content goes."""

import pytest
from django.core.exceptions import ValidationError

from tests.factories import OrganisationFactory, SubmissionFactory, WorkflowFactory
from validibot.accounts import projects
from validibot.accounts.models import Organisation, Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Organisation:
    organisation: Organisation = OrganisationFactory.create()
    return organisation


def _create(organisation: Organisation, name: str) -> Project:
    return projects.create(organisation, name=name, colour="blue")


def test_first_project_is_the_default(acme: Organisation) -> None:
    first, second = _create(acme, "Homes"), _create(acme, "Offices")

    assert (first.is_default, second.is_default) == (True, False)
    assert projects.default_project(acme) == first


@pytest.mark.parametrize("name", ["Homes", "HOMES"])
def test_taken_name_is_refused(acme: Organisation, name: str) -> None:
    _create(acme, "Homes")
    other = _create(acme, "Offices")

    with pytest.raises(ValidationError, match="already"):
        _create(acme, name)
    with pytest.raises(ValidationError, match="already"):
        projects.edit(other, name=name, colour="blue")
    assert _create(OrganisationFactory.create(), name).name == name


def test_names_without_latin_letters_get_different_slugs(acme: Organisation) -> None:
    slugs = [_create(acme, name).slug for name in ("建物", "住宅", "!")]

    assert slugs == ["project", "project-2", "project-3"]


def test_deleted_project_moves_its_content_to_the_default(acme: Organisation) -> None:
    default, gone = _create(acme, "Homes"), _create(acme, "Offices")
    workflow = WorkflowFactory.create(
        organisation=acme, project=gone, frozen_at="2026-01-01T00:00Z"
    )
    submission = SubmissionFactory.create(organisation=acme, project=gone)
    projects.delete(gone)

    workflow.refresh_from_db()
    submission.refresh_from_db()
    assert (workflow.project, submission.project) == (default, default)


def test_default_project_cannot_be_deleted(acme: Organisation) -> None:
    default, other = _create(acme, "Homes"), _create(acme, "Offices")

    with pytest.raises(ValidationError, match="cannot be deleted"):
        projects.delete(default)
    projects.make_default(other)
    projects.delete(default)

    assert list(acme.projects.all()) == [other]
