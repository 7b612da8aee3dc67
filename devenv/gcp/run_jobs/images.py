"""The container images that the `process` runtime knows, by tag and by digest."""

import hashlib
from collections.abc import Iterable

from devenv.gcp.config import Image


def digest(image: str) -> str:
    """Return the digest form of an image name: what a real execution shows for a tag.

    It is made from the name alone, since there is no registry that knows the contents.
    """
    if "@" in image:
        return image
    repository, _, tag = image.rpartition(":")
    if "/" in tag or not repository:
        repository = image
    return f"{repository}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def by_digest(images: Iterable[Image]) -> dict[str, Image]:
    """Return the images of devenv.toml under their digest forms."""
    return {digest(image.name): image for image in images}
