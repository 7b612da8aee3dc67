"""Push of the images that `make image validators` built to the repository of a stage."""

import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator

from deploy.errors import DeployError
from deploy.layout import Layout
from deploy.layout.names import ROOT
from deploy.resources.job import Job


def push(layout: Layout, *, tell: Callable[[str], None]) -> None:
    """Tag each local image as the stage names it, and push it; `tell` gets each command.

    A push of layers that the repository has takes no time. Raises DeployError.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise DeployError("There is no program `docker`. Install it, then run `push` again.")
    for local, remote in _images(layout):
        for command in _commands(local, remote):
            tell(" ".join(command))
            done = subprocess.run([docker, *command[1:]], check=False)  # noqa: S603 - our own names
            if done.returncode:
                raise DeployError(
                    f"image/{local}: `{' '.join(command)}` failed. Is it built (`make image "
                    f"validators`), and is Docker logged in (`gcloud auth configure-docker "
                    f"{remote.partition('/')[0]}`)? Then run `push` again."
                )


def _images(layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield the local name and that in the repository, of the product's image and each validator's.

    The jobs of a stage name the images of the validators.
    """
    yield (
        f"validibot/validibot:{_version()}",
        layout.names.image("validibot", layout.stage.image_tag),
    )
    for resource in layout.resources():
        if isinstance(resource, Job) and "validator" in resource.labels:
            remote = resource.container.image
            yield f"validibot/{remote.rpartition('/')[2]}", remote


def _commands(local: str, remote: str) -> Iterator[tuple[str, ...]]:
    yield ("docker", "tag", local, remote)
    yield ("docker", "push", "--quiet", remote)


def _version() -> str:
    """Return the version under which `make image` builds the product's image."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])
