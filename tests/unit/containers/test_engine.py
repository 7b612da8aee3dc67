"""Digests of images, with a stub of Docker's SDK."""

from typing import Any

import pytest
from docker.errors import NotFound

from containers.client import Client
from containers.engine import ContainerEngine

REGISTRYS = f"sha256:{'1' * 64}"
OWN = f"sha256:{'2' * 64}"


class Images:
    """One image: pulled as `registry/pulled`, then tagged `renamed:1` as well."""

    def inspect_image(self, name: str) -> dict[str, Any]:
        if name not in ("registry/pulled:1", f"registry/pulled:1@{REGISTRYS}", "renamed:1", OWN):
            raise NotFound("no such image")
        return {"Id": OWN, "RepoDigests": [f"registry/pulled@{REGISTRYS}"]}


@pytest.mark.parametrize(("name", "digest"), [("registry/pulled:1", REGISTRYS), ("renamed:1", OWN)])
def test_digest_of_image_is_found_again(name: str, digest: str) -> None:
    client = Client(Images)
    engine = ContainerEngine(owner="o", client=client)

    assert engine.digest(name) == digest
    assert engine.has(f"{name}@{digest}")
