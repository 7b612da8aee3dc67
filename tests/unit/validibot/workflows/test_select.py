"""Selection of workflows."""

import pytest
from pytest_django import DjangoAssertNumQueries

from validibot.accounts.models import Organisation, Project, Role, User, WorkflowGrant
from validibot.accounts.scope import Scope, scope_of
from validibot.workflows.models import Step, Validator, Workflow
from validibot.workflows.select import (
    WorkflowNotFound,
    accepted_extensions,
    find_visible_workflow,
    find_workflow,
    visible_workflows,
)
from validibot.workflows.versions import freeze

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation() -> Organisation:
    return Organisation.objects.create(name="Org", slug="org")


@pytest.fixture
def first(organisation: Organisation) -> Workflow:
    return make(organisation, "check", 1)


@pytest.fixture
def second(organisation: Organisation) -> Workflow:
    return make(organisation, "check", 2)


def make(organisation: Organisation, slug: str, version: int, **fields: object) -> Workflow:
    return Workflow.objects.create(
        organisation=organisation, slug=slug, version=version, name=slug, **fields
    )


def test_slug_selects_latest_version(
    organisation: Organisation, first: Workflow, second: Workflow
) -> None:
    assert find_workflow(organisation, "check") == second
    assert find_workflow(organisation, "check", version=1) == first


def test_slug_prefers_active_to_later_inactive_version(
    organisation: Organisation, first: Workflow, second: Workflow
) -> None:
    Workflow.objects.filter(pk=second.pk).update(is_active=False)

    assert find_workflow(organisation, "check") == first
    assert find_workflow(organisation, "check", version=2) == second


def test_number_or_uuid_selects_version(
    organisation: Organisation, first: Workflow, second: Workflow
) -> None:
    assert find_workflow(organisation, str(first.pk)) == first
    assert find_workflow(organisation, str(first.uuid)) == first
    assert find_workflow(organisation, first.uuid.hex.upper(), version=2) == second


def test_numeric_slug_goes_before_primary_key(organisation: Organisation, first: Workflow) -> None:
    named = make(organisation, str(first.pk), 1)

    assert find_workflow(organisation, str(first.pk)) == named


def test_project_limits_selection(organisation: Organisation, first: Workflow) -> None:
    project = Project.objects.create(organisation=organisation, name="P", slug="p")
    inside = make(organisation, "inside", 1, project=project)

    assert find_workflow(organisation, "inside", project="p") == inside
    with pytest.raises(WorkflowNotFound, match="in the project 'p'"):
        find_workflow(organisation, "check", project="p")


@pytest.mark.parametrize("ident", ["no", "0", "9" * 30, "a\0b", "", "²", "0" * 8 + "-0000" * 4])
def test_unknown_workflow_raises_not_found(organisation: Organisation, ident: str) -> None:
    with pytest.raises(WorkflowNotFound):
        find_workflow(organisation, ident)


def test_workflow_of_other_organisation_is_not_found(first: Workflow) -> None:
    other = Organisation.objects.create(name="Other", slug="other")

    for ident in ("check", str(first.pk), str(first.uuid)):
        with pytest.raises(WorkflowNotFound):
            find_workflow(other, ident)


@pytest.fixture
def step(first: Workflow) -> Step:
    accepts = [{"extension": ".idf", "mime_type": "x"}, {"extension": ".epjson", "mime_type": "y"}]
    validator = Validator.objects.create(
        slug="v", version="1", title="V", validation_type="BASIC", accepts=accepts
    )
    return Step.objects.create(workflow=first, order=1, name="one", validator=validator)


def test_unfrozen_workflow_loads_steps_in_second_query(
    organisation: Organisation, step: Step, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(2):
        found = find_workflow(organisation, "check")
        assert accepted_extensions(found) == {".idf", ".epjson"}


def test_frozen_workflow_costs_one_query_after_first(
    organisation: Organisation, step: Step, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    freeze(step.workflow)
    find_workflow(organisation, "check")

    with django_assert_num_queries(1):
        found = find_workflow(organisation, "check")
        assert [each.validator.title for each in found.steps.all()] == ["V"]


def test_cached_steps_follow_changes_of_their_validator(
    organisation: Organisation, step: Step
) -> None:
    freeze(step.workflow)
    find_workflow(organisation, "check")
    step.validator.is_active = False
    step.validator.save()

    found = find_workflow(organisation, "check")

    assert not found.steps.all()[0].validator.is_active


def test_disabled_step_does_not_decide_what_is_accepted(step: Step) -> None:
    step.is_enabled = False
    step.save()

    assert accepted_extensions(step.workflow) == set()


def test_workflow_accepts_only_the_types_that_it_lists(step: Step) -> None:
    step.workflow.accepted_types = [".idf"]

    assert accepted_extensions(step.workflow) == {".idf"}


def test_workflow_without_steps_accepts_any_file(first: Workflow) -> None:
    assert accepted_extensions(first) == set()


def test_member_sees_latest_active_versions(
    organisation: Organisation, first: Workflow, second: Workflow
) -> None:
    make(organisation, "off", 1, is_active=False)
    scope = Scope.of_member(User(), organisation, Role.VIEWER)

    assert list(visible_workflows(scope)) == [second]


def test_guest_sees_only_granted_workflows(organisation: Organisation, second: Workflow) -> None:
    make(organisation, "other", 1)
    guest = User.objects.create_user("guest@example.org")
    WorkflowGrant.objects.create(organisation=organisation, user=guest, workflow=second.slug)
    scope = scope_of(guest, organisation.slug)

    assert list(visible_workflows(scope)) == [second]
    assert find_visible_workflow(scope, "check") == second
    with pytest.raises(WorkflowNotFound):
        find_visible_workflow(scope, "other")
