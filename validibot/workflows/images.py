"""Featured images: validated, made smaller, and encoded anew, so that no byte of an upload is served.

Pillow reads PNG, JPEG and WebP only, and counts the pixels before it decodes any. Positions and other
facts that cameras write into files are dropped.
"""

import hashlib
import io
import struct

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from validibot.workflows.models import Workflow, WorkflowImage

FORMATS = ("PNG", "JPEG", "WEBP")
MIME_TYPE = "image/webp"
MAX_BYTES = 5 * 1024 * 1024
MAX_PIXELS = 25_000_000
# The stored image fits into this box.
MAX_WIDTH, MAX_HEIGHT = 1200, 600
_QUALITY = 82


def image_of(workflow: Workflow) -> WorkflowImage | None:
    """Return the featured image of a workflow without its content."""
    rows = WorkflowImage.objects.defer("content")
    return rows.filter(organisation=workflow.organisation_id, workflow=workflow.slug).first()


def set_image(workflow: Workflow, name: str, content: bytes) -> None:
    """Replace the featured image of a workflow by an uploaded file. Raises ValidationError."""
    if len(content) > MAX_BYTES:
        message = _("%(name)s is larger than %(limit)s bytes. Choose a smaller image.")
        raise ValidationError(message % {"name": name[:80], "limit": f"{MAX_BYTES:,}"})
    encoded, (width, height) = _encoded(name, content)
    WorkflowImage.objects.update_or_create(
        organisation=workflow.organisation,
        workflow=workflow.slug,
        defaults={
            "content": encoded,
            "sha256": hashlib.sha256(encoded).hexdigest(),
            "width": width,
            "height": height,
        },
    )


def remove_image(workflow: Workflow) -> None:
    """Remove the featured image; a workflow without one stays as it is."""
    WorkflowImage.objects.filter(
        organisation=workflow.organisation, workflow=workflow.slug
    ).delete()


def _encoded(name: str, content: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return the image as WebP within the box, and its size. Raises ValidationError."""
    # Imported late: Pillow takes a tenth of the start, and few requests bring an image.
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    # Errors of Pillow for damaged files: those that `Image.open` itself takes for "another format" come
    # from the EXIF data, too, which is read later.
    unreadable = (
        *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError),
        *(SyntaxError, IndexError, TypeError, struct.error),
    )
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                message = _(
                    "%(name)s has %(width)s by %(height)s pixels; at most %(limit)s are taken."
                )
                sizes = {"width": opened.width, "height": opened.height, "limit": f"{MAX_PIXELS:,}"}
                raise ValidationError(message % {"name": name[:80], **sizes})
            image = ImageOps.exif_transpose(opened)
            image.thumbnail((MAX_WIDTH, MAX_HEIGHT))
            has_alpha = image.has_transparency_data
            target = io.BytesIO()
            image.convert("RGBA" if has_alpha else "RGB").save(
                target, "WEBP", quality=_QUALITY, exif=b"", icc_profile=b""
            )
    except unreadable as error:
        if isinstance(error, ValidationError):
            raise
        message = _("%(name)s cannot be read as an image. Choose a PNG, JPEG or WebP file.")
        raise ValidationError(message % {"name": name[:80]}) from error
    return target.getvalue(), image.size
