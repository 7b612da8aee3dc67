"""Requirements of the wheel of devenv, and those that this repository installs for it."""

import tomllib
from pathlib import Path


def test_wheel_needs_what_the_packages_of_devenv_need() -> None:
    ours = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wheel = tomllib.loads(Path("packaging/pyproject.toml").read_text())["project"]
    optional = [one for several in wheel["optional-dependencies"].values() for one in several]
    known = {*ours["dependencies"], *ours["optional-dependencies"]["devenv"]}

    assert set(ours["optional-dependencies"]["devenv"]) <= {*wheel["dependencies"], *optional}
    assert set(wheel["dependencies"]) <= known
    assert len(wheel["dependencies"]) == len({*wheel["dependencies"]})
    assert wheel["version"] == ours["version"]
