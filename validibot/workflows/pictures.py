"""Decoding and encoding of pictures by Pillow, which is imported with this module only.

Pillow reads PNG, JPEG and WebP only, and counts the pixels before it decodes any. Positions and other
facts that cameras write into files are dropped.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

type Picture = tuple[bytes, tuple[int, int]]
"""A file in WebP, and its width and height in pixels."""

FORMATS = ("PNG", "JPEG", "WEBP")
# Each size fits into such a box; the largest first.
BOXES = ((1200, 600), (600, 300))
_QUALITY = 82
# Orientations that exchange width and height.
_TURNED = (5, 6, 7, 8)
# Errors of Pillow for damaged files: those that `Image.open` itself takes for "another format" come from
# the EXIF data, too, which is read later.
_ERRORS = (
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError),
    *(SyntaxError, IndexError, TypeError, struct.error),
)


class UnreadablePicture(Exception):
    """The file is damaged, or no PNG, JPEG or WebP."""


def head_of(content: bytes) -> tuple[str, tuple[int, int]]:
    """Return format, width and height of a file; nothing is decoded. Raises UnreadablePicture."""
    with _opened(content) as opened:
        head = opened.format or "", opened.size
        opened.verify()
        return head


def make_sizes(content: bytes, *, is_made: bool) -> list[Picture]:
    """Return the pictures of a file, the largest first. Raises UnreadablePicture.

    With `is_made` the file is the largest of them already. Of a JPEG a smaller picture is decoded; others
    are decoded in full size, with 4 bytes for each pixel, transparent ones and WebP in several buffers.
    """
    made: list[Picture] = []
    with _opened(content) as picture:
        is_turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in _TURNED
        picture.thumbnail(BOXES[0][::-1] if is_turned else BOXES[0])
        ImageOps.exif_transpose(picture, in_place=True)
        for box in BOXES:
            before = picture.size
            picture.thumbnail(box)
            if not made and is_made:
                made.append((content, picture.size))
            elif not made or picture.size != before:
                made.append((_encoded(picture), picture.size))
    return made


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            yield opened
    except _ERRORS as error:
        raise UnreadablePicture(str(error)) from error


def _encoded(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(
        target, "WEBP", quality=_QUALITY, exif=b"", icc_profile=b""
    )
    return target.getvalue()
