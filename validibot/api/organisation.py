"""The API of what an organisation has besides workflows and runs: projects, members, validators."""

import datetime as dt
from typing import Self

from django.http import HttpResponse
from pydantic import BaseModel, JsonValue
from rest_framework.request import Request

from validibot.accounts.members import members_of
from validibot.accounts.models import Membership, Project
from validibot.api import schema
from validibot.api.access import scope_in
from validibot.api.base import ApiView, operation
from validibot.api.documents import ListPage, ValidatorDocument
from validibot.api.lists import PathCursorPagination
from validibot.workflows.models import Validator
from validibot.workflows.select import visible_projects


class ProjectDocument(BaseModel):
    """A project; launches and lists name it by `slug`."""

    id: int
    slug: str
    name: str
    colour: str
    is_default: bool
    created_at: dt.datetime

    @classmethod
    def of(cls, project: Project) -> Self:
        return cls(**{name: getattr(project, name) for name in cls.model_fields})


class MemberDocument(BaseModel):
    """A member; `user` is the number that runs name their user by."""

    id: int
    user: int
    email: str
    name: str
    role: str
    since: dt.datetime

    @classmethod
    def of(cls, member: Membership) -> Self:
        return cls(
            id=member.pk,
            user=member.user_id,
            email=member.user.email,
            name=member.user.name,
            role=member.role,
            since=member.created_at,
        )


class CatalogueValidator(ValidatorDocument):
    """A validator of the catalogue: the files that it takes, and the outputs that it reports."""

    id: int
    engine: str
    image: str
    accepts: JsonValue
    ports: JsonValue
    outputs: JsonValue
    timeout_seconds: int
    memory_mb: int

    @classmethod
    def of(cls, validator: Validator) -> Self:
        shown = dict(ValidatorDocument.of(validator))
        more = {name: getattr(validator, name) for name in cls.model_fields.keys() - shown.keys()}
        return cls(**shown, **more)


class ProjectPage(ListPage[ProjectDocument]):
    """A page of projects."""


class MemberPage(ListPage[MemberDocument]):
    """A page of members."""


class ValidatorPage(ListPage[CatalogueValidator]):
    """A page of validators."""


class ProjectsView(ApiView):
    """The projects of the organisation."""

    @operation(
        operation_id="list_projects",
        parameters=schema.PAGE,
        responses=schema.read(ProjectPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        projects = visible_projects(scope_in(request, org, "workflow.view"))
        pages = PathCursorPagination(projects, "name")
        return pages.answer(request, ProjectDocument.of, ProjectPage)


class MembersView(ApiView):
    """The members of the organisation, in the order in which they joined."""

    @operation(
        operation_id="list_members",
        parameters=schema.PAGE,
        responses=schema.read(MemberPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        members = members_of(scope_in(request, org, "member.view").organisation)
        pages = PathCursorPagination(members, "created_at")
        return pages.answer(request, MemberDocument.of, MemberPage)


class ValidatorsView(ApiView):
    """The validators of the product and of the organisation, each in its active versions."""

    @operation(
        operation_id="list_validators",
        parameters=schema.PAGE,
        responses=schema.read(ValidatorPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        organisation = scope_in(request, org, "workflow.view").organisation
        validators = Validator.objects.known_to(organisation).filter(is_active=True)
        pages = PathCursorPagination(validators, "slug")
        return pages.answer(request, CatalogueValidator.of, ValidatorPage)
