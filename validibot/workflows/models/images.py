"""Featured images of workflows."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import uuid4

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now
from django.db.models.signals import post_delete
from django.utils import timezone

from validibot.accounts.models import Organisation
from validibot.core.storage import media


class WorkflowImage(models.Model):
    """The featured image of a workflow in all its versions (see `images`).

    `workflow` is the slug. `upload` waits for the task that makes the sizes; `content` is the largest
    of them, from which all can be made again. `sizes` has name and width of each file of the public
    media, the largest first, and `width` and `height` are those of the largest. `token`, new with each
    upload, is in each name, so that no name can be guessed or is used again. While `requested_at` is set, the sizes are to be made. `is_refused`
    tells that the file `upload_name` could not be read.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="workflow_images", db_index=False
    )
    workflow = models.SlugField(max_length=60, db_index=False)
    upload = models.BinaryField(null=True)
    upload_name = models.CharField(max_length=80, blank=True, default="", db_default="")
    content = models.BinaryField(default=b"")
    sha256 = models.CharField(max_length=64, default="")
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    sizes = models.JSONField(default=list, db_default=[], blank=True)
    token = models.UUIDField(default=uuid4, db_default=RandomUUID())
    is_refused = models.BooleanField(default=False, db_default=False)
    requested_at = models.DateTimeField(null=True, blank=True, db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "workflow"], name="one_image_per_workflow"
            )
        ]

    def __str__(self) -> str:
        return f"image of {self.workflow}"

    @property
    def address(self) -> str:
        """The address of the largest size, empty before there is one."""
        return media.address_of(self.sizes[0]["name"]) if self.sizes else ""

    @property
    def source_set(self) -> str:
        """The sizes as a browser chooses from them (the attribute `srcset`)."""
        sizes = (f"{media.address_of(each['name'])} {each['width']}w" for each in self.sizes)
        return ", ".join(sizes)


class RemovedMedia(models.Model):
    """A file of the public media; once it is due the sweep deletes it, unless an image names it."""

    name = models.CharField(max_length=200, unique=True)
    due_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def note(names: Iterable[str], *, due_at: dt.datetime) -> None:
        """Have files deleted at a moment; one that was noted before gets the new moment."""
        RemovedMedia.objects.bulk_create(
            [RemovedMedia(name=name, due_at=due_at) for name in names],
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["due_at"],
        )


def _remove_sizes(instance: WorkflowImage, **_: Any) -> None:
    """Have the files of a deleted row deleted, also of one that went with its organisation."""
    RemovedMedia.note((each["name"] for each in instance.sizes), due_at=timezone.now())


post_delete.connect(_remove_sizes, sender=WorkflowImage)
