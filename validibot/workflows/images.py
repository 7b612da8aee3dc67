"""Featured images: validated in the request, made smaller and encoded anew by a task.

No byte of an upload is served. The sizes are files of the public media, which everybody may read who
has their address.
"""

import datetime as dt
import hashlib
import logging
import re
from functools import partial
from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.tasks import task
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.core.storage import StorageError, media
from validibot.workflows.models import RemovedMedia, Workflow, WorkflowImage

MAX_BYTES = 5 * 1024 * 1024
MAX_PIXELS = 25_000_000
# WebP is decoded in full size, in four buffers of 4 bytes for each pixel.
MAX_WEBP_PIXELS = 7_000_000
# After so long the sweep asks again for sizes, and files may go whose row was never written.
LOST_AFTER = dt.timedelta(seconds=60)
WRITTEN_WITHIN = dt.timedelta(hours=1)
NAME = re.compile(r"featured/[0-9a-f]{32}-[0-9a-f]{32}-[0-9]{1,4}\.webp")
"""Names of files of the public media."""

logger = logging.getLogger(__name__)


def images_of(organisation_id: int) -> "QuerySet[WorkflowImage]":
    """Return the featured images of an organisation without their content."""
    return WorkflowImage.objects.defer("content", "upload").filter(organisation=organisation_id)


def image_of(workflow: Workflow) -> WorkflowImage | None:
    """Return the featured image of a workflow without its content."""
    return images_of(workflow.organisation_id).filter(workflow=workflow.slug).first()


def set_image(workflow: Workflow, name: str, content: bytes) -> None:
    """Replace the featured image of a workflow by an uploaded file. Raises ValidationError.

    The image of before is shown until a task has made the sizes of this one.
    """
    if len(content) > MAX_BYTES:
        message = _("%(name)s is larger than %(limit)s bytes. Choose a smaller image.")
        raise ValidationError(message % {"name": name[:80], "limit": f"{MAX_BYTES:,}"})
    _check(name, content)
    with transaction.atomic():
        image, _is_new = WorkflowImage.objects.update_or_create(
            organisation=workflow.organisation,
            workflow=workflow.slug,
            defaults={
                "upload": content,
                "upload_name": name[:80],
                "token": uuid4(),
                "is_refused": False,
                "requested_at": timezone.now(),
            },
        )
        # If the queue is out of reach, the sweep enqueues it later.
        transaction.on_commit(partial(make_sizes.enqueue, image.pk), robust=True)


def remove_image(workflow: Workflow) -> None:
    """Remove the featured image; a workflow without one stays as it is."""
    images_of(workflow.organisation_id).filter(workflow=workflow.slug).delete()


def request_all() -> int:
    """Have the sizes of all images made again, for public media that are new; return how many."""
    return WorkflowImage.objects.update(requested_at=timezone.now())


@task
def make_sizes(image_id: int) -> None:
    """Make the sizes of an image and write them to the public media.

    A repetition changes nothing, and an image that was removed meanwhile is done. Raises StorageError,
    after which the queue delivers the task again.
    """
    image = WorkflowImage.objects.filter(pk=image_id, requested_at__isnull=False).first()
    if image is None:
        return
    from validibot.workflows import pictures  # noqa: PLC0415 - imports Pillow

    mine = WorkflowImage.objects.filter(
        pk=image_id, token=image.token, requested_at=image.requested_at
    )
    source = image.content if image.upload is None else image.upload
    try:
        made = pictures.make_sizes(bytes(source), is_made=image.upload is None)
    except pictures.UnreadablePicture as error:
        logger.info("the image %s cannot be read: %s", image_id, error)
        mine.update(upload=None, is_refused=True, requested_at=None)
        return
    files = {_name(image, content, size): (content, size) for content, size in made}
    # Noted before they are written; the notes stay when the row names the files, because it may be deleted
    # at the same moment.
    due = timezone.now() + WRITTEN_WITHIN
    RemovedMedia.note(files, due_at=due)
    for name, (content, _size) in files.items():
        media.put(name, content)
    largest, (width, height) = made[0]
    with transaction.atomic():
        old = {each["name"] for each in image.sizes} - set(files)
        if mine.update(
            upload=None,
            content=largest,
            sha256=hashlib.sha256(largest).hexdigest(),
            width=width,
            height=height,
            sizes=[{"name": name, "width": size[0]} for name, (_content, size) in files.items()],
            requested_at=None,
        ):
            RemovedMedia.note(old, due_at=timezone.now())


def lost_images(now: dt.datetime, *, limit: int) -> list[tuple[int, str]]:
    """Return the images whose sizes were not made in time, with a key for each (as `fmu.lost_probes`)."""
    lost = WorkflowImage.objects.filter(requested_at__lt=now - LOST_AFTER).order_by("requested_at")
    rows: Any = lost.values_list("pk", "requested_at")
    return [
        (pk, f"image-{pk}-{int(asked.timestamp())}-{(now - asked) // dt.timedelta(hours=1)}")
        for pk, asked in rows[:limit]
    ]


def remove_due(now: dt.datetime, *, limit: int) -> None:
    """Delete the files of the public media that are due and that no image names."""
    for row in RemovedMedia.objects.filter(due_at__lte=now).order_by("due_at")[:limit]:
        if not WorkflowImage.objects.filter(sizes__contains=[{"name": row.name}]).exists():
            try:
                media.delete(row.name)
            except StorageError as error:
                logger.warning("public files are deleted later: %s", error)
                return
        row.delete()


def _name(image: WorkflowImage, content: bytes, size: tuple[int, int]) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"featured/{image.token.hex}-{digest[:32]}-{size[0]}.webp"


def _check(name: str, content: bytes) -> None:
    """Raise ValidationError if the head of a file shows that it is unusable."""
    # Pillow takes a tenth of the start, and few requests bring an image.
    from validibot.workflows import pictures  # noqa: PLC0415

    try:
        kind, (width, height) = pictures.head_of(content)
    except pictures.UnreadablePicture as error:
        message = _("%(name)s cannot be read as an image. Choose a PNG, JPEG or WebP file.")
        raise ValidationError(message % {"name": name[:80]}) from error
    limit = MAX_WEBP_PIXELS if kind == "WEBP" else MAX_PIXELS
    if width * height > limit:
        message = _("%(name)s has %(width)s by %(height)s pixels; at most %(limit)s are taken.")
        if kind == "WEBP":
            message = _(
                "%(name)s has %(width)s by %(height)s pixels; at most %(limit)s are taken of a WebP. Choose a"
                " smaller one, or a JPEG or PNG."
            )
        sizes = {"width": width, "height": height, "limit": f"{limit:,}"}
        raise ValidationError(message % {"name": name[:80], **sizes})
