"""Slugs that are not taken yet."""

from collections.abc import Container
from itertools import count


def free_slug(stem: str, taken: Container[str]) -> str:
    """Return `stem`, or `stem-2`, `stem-3`, …: the first that is not taken."""
    slugs = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(slug for slug in slugs if slug not in taken)
