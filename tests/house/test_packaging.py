"""Requirements of the wheel of devenv, and those that this repository installs for it."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path


def test_wheel_requires_the_packages_of_the_extra() -> None:
    repository = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wheel = tomllib.loads(Path("packaging/pyproject.toml").read_text())["project"]
    extras = wheel["optional-dependencies"].values()
    required = _names(wheel["dependencies"]).union(*map(_names, extras))

    assert _names(repository["optional-dependencies"]["devenv"]) <= required


def _names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[^a-z0-9-]", each)[0] for each in requirements}
