"""The API of submissions: the files that were sent, of the runs that the user may see."""

import datetime as dt
from typing import Self
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from pydantic import BaseModel
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.api import schema
from validibot.api.access import scope_in
from validibot.api.base import ApiView, operation
from validibot.api.documents import ListPage, respond
from validibot.api.lists import PathCursorPagination
from validibot.api.run_documents import FurtherFileDocument
from validibot.core.downloads import streamed
from validibot.core.problems import ApiError
from validibot.runs.access import visible_runs
from validibot.submissions import content
from validibot.submissions.models import Submission


class SubmissionDocument(BaseModel):
    """A file that was sent, with the name and the metadata that its sender gave.

    `content_removed_at` is when its bytes were removed, because its workflow keeps them no longer.
    """

    id: UUID
    user: int | None
    name: str
    filename: str
    mime_type: str
    size_bytes: int
    sha256: str
    metadata: dict[str, str]
    short_description: str
    created_at: dt.datetime
    content_removed_at: dt.datetime | None
    further_files: list[FurtherFileDocument]

    @classmethod
    def of(cls, submission: Submission) -> Self:
        names = cls.model_fields.keys() - {"user", "further_files"}
        return cls(
            **{name: getattr(submission, name) for name in names},
            user=submission.user_id,
            further_files=[
                FurtherFileDocument(
                    filename=file.filename, size_bytes=file.size_bytes, sha256=file.sha256
                )
                for file in submission.further_files
            ],
        )


class SubmissionPage(ListPage[SubmissionDocument]):
    """A page of submissions."""


class SubmissionsView(ApiView):
    """The submissions of the organisation, newest first."""

    @operation(
        operation_id="list_submissions",
        parameters=schema.PAGE,
        responses=schema.read(SubmissionPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        submissions = _visible(scope_in(request, org, "run.view_own"))
        pages = PathCursorPagination(submissions.prefetch_related("files"), "-created_at")
        return pages.answer(request, SubmissionDocument.of, SubmissionPage)


class SubmissionView(ApiView):
    """One submission."""

    @operation(operation_id="get_submission", responses=schema.read(SubmissionDocument))
    def get(self, request: Request, org: str, submission: UUID) -> HttpResponse:
        return respond(SubmissionDocument.of(_find(request, org, submission)))


class SubmissionFileView(ApiView):
    """Download the submitted file (0), or one of those that were sent beside it (from 1)."""

    @operation(
        operation_id="download_submission",
        responses=schema.answers(OpenApiTypes.BINARY, 410, media_type="application/octet-stream"),
    )
    def get(
        self, request: Request, org: str, submission: UUID, order: int
    ) -> StreamingHttpResponse:
        return download(_find(request, org, submission), order)


def download(submission: Submission, order: int) -> StreamingHttpResponse:
    """Answer with the submitted file (0), or one of those that were sent beside it (from 1)."""
    file = submission.files.filter(order=order).first() if order else submission
    if file is None:
        raise ApiError(404, "NOT_FOUND", f"Submission {submission.pk} has no file {order}.")
    if submission.content_removed_at:
        day = f"{submission.content_removed_at:%-d %B %Y}"
        detail = f"The files of submission {submission.pk} were removed on {day}."
        raise ApiError(410, "CONTENT_REMOVED", detail)
    return streamed(content.stream(file), name=file.filename, size=file.size_bytes)


def _visible(scope: Scope) -> QuerySet[Submission]:
    seen = visible_runs(scope).filter(submission=OuterRef("pk"))
    return Submission.objects.filter(Exists(seen), organisation=scope.organisation).defer("inline")


def _find(request: Request, org: str, pk: UUID) -> Submission:
    found = _visible(scope_in(request, org, "run.view_own")).filter(pk=pk).first()
    if found is None:
        raise ApiError(404, "NOT_FOUND", f"There is no submission {pk} in this organisation.")
    return found
