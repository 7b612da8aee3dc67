"""Submissions: one file each, with the name and metadata that its sender gave, and further files."""

import re
import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation, Project

# Characters that change the direction of text, so that a name shows a wrong extension.
BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return `text` with its direction controls written out as escapes."""
    return BIDI_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class ReceivedFile(models.Model):
    """A file as it was received.

    Small content lives in `inline` so that an in-process step needs no storage request; larger
    content lives at `uri` in version `storage_version`. Exactly one of the two is set.
    """

    filename = models.CharField(max_length=255)
    mime_type = models.CharField(max_length=100)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    inline = models.BinaryField(null=True, blank=True)
    uri = models.CharField(max_length=1000, blank=True)
    storage_version = models.CharField(max_length=512, blank=True)

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(inline__isnull=True) ^ models.Q(uri=""),
                name="%(class)s_is_inline_or_stored",
            )
        ]

    def __str__(self) -> str:
        return self.shown_filename

    @property
    def shown_filename(self) -> str:
        """The file name for display."""
        return visible(self.filename)


class Submission(ReceivedFile):
    """The file that a run validates, and what its sender told about it.

    `name`, `metadata` (object of strings) and `short_description` come from the sender.
    `further_file_count` is the number of `files` that were sent beside it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="submissions"
    )
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.SET_NULL)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    name = models.CharField(max_length=255, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    short_description = models.CharField(max_length=255, blank=True)
    # With a default in the database: processes of the version before go on inserting rows.
    # When its files were removed, because the workflow keeps them no longer.
    content_removed_at = models.DateTimeField(null=True, blank=True)
    further_file_count = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(default=timezone.now)
    # The rows of further files that are saved with this one.
    prepared_files: "list[SubmissionFile] | None" = None

    @property
    def shown_name(self) -> str:
        """The sender's name of the submission, or else the file name, for display."""
        return visible(self.name or self.filename)

    @property
    def further_files(self) -> "list[SubmissionFile]":
        """The files that were sent beside it, without a query if there are none."""
        if self.prepared_files is not None:
            return self.prepared_files
        return list(self.files.all()) if self.further_file_count else []


class SubmissionFile(ReceivedFile):
    """A file that was sent beside a submission, because the submitted file refers to it by name."""

    submission = models.ForeignKey(
        Submission, on_delete=models.CASCADE, related_name="files", db_index=False
    )
    order = models.PositiveSmallIntegerField()

    class Meta(ReceivedFile.Meta):
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            *ReceivedFile.Meta.constraints,
            models.UniqueConstraint(
                fields=["submission", "order"], name="submission_file_order_is_unique"
            ),
        ]
