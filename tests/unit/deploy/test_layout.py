"""Order of the resources of a stage, and roles that it wants on none of them."""

from pathlib import Path

import pytest

from deploy.cli import layout_of
from deploy.plan import change_of
from deploy.resources.access import RoleBindings
from deploy.stage import STAGES


@pytest.fixture
def custom(tmp_path: Path) -> str:
    """A stage with custom validators, whose worker has a role for all jobs."""
    path = tmp_path / "dev.toml"
    path.write_text(f"custom_validators = true\n{(STAGES / 'dev.toml').read_text()}")
    return str(path)


def test_role_for_all_jobs_is_given_before_those_on_single_jobs_go(custom: str) -> None:
    addresses = (each.address for each in layout_of(custom).resources())
    about_jobs = ("project-role/dev-validator-jobs", "access/job/")

    first = next(each for each in addresses if each.startswith(about_jobs))

    assert first == "project-role/dev-validator-jobs"


def test_absent_roles_that_are_not_wanted_are_no_change(
    custom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoleBindings, "_bindings", lambda self: [])
    roles = next(
        each for each in layout_of(custom).resources() if each.address.startswith("access/job/")
    )

    assert change_of(roles) is None
