"""Names of container images: tags, digests, and what the `process` runtime knows by them."""

import hashlib
from collections.abc import Iterable

from devenv.gcp.config import Image


def digest(image: str) -> str:
    """Return the digest form of an image name: what a real execution shows for a tag.

    It is made from the name alone, since there is no registry that knows the contents.
    """
    if "@" in image:
        return image
    return f"{repository(image)}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def repository(image: str) -> str:
    """Return an image's name without its tag or digest."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    return name if name and "/" not in tag else image.partition("@")[0]


def by_digest(images: Iterable[Image]) -> dict[str, Image]:
    """Return the images for which devenv.toml names a command, under their digest forms."""
    return {digest(image.name): image for image in images if image.command}
