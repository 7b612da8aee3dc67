"""Resources of a stage: their order, and what is no difference to the cloud."""

from pathlib import Path
from typing import Any

import pytest
from google.cloud import sqladmin_v1 as sqladmin
from google.iam.v1.policy_pb2 import Policy

from deploy.cli import layout_of
from deploy.google import GoogleCloud
from deploy.plan import change_of
from deploy.resources.access import RoleBindings
from deploy.resources.sql_instance import SqlInstance
from deploy.stage_file import STAGES


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


def test_secrets_of_custom_validators_are_read_by_the_account_of_their_organisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GoogleCloud, "number", "1")
    text = (STAGES / "dev.toml").read_text()
    more = 'custom_validators = true\ncustom_subnetwork = "inside"\n'
    stage = f"{more}{text}\n[custom_secrets]\n12 = [ 'API_KEY' ]\n13 = [ 'API_KEY' ]\n"
    (tmp_path / "dev.toml").write_text(stage)
    layout = layout_of(str(tmp_path / "dev.toml"))
    found = {each.address: each for each in layout.resources()}
    project = f"{layout.cloud.project}.iam.gserviceaccount.com"

    secret = layout.data.secret("dev-custom-12-api-key")
    assert secret.address in found
    assert secret.name not in layout.product.variables["DEPLOYED_SECRETS"].split(",")
    assert found[f"access/{secret.address}"].desired() == {
        "roles/secretmanager.secretAccessor": ["dev-custom-12"]
    }
    assert found["access/account/dev-custom-12"].desired() == {
        "roles/iam.serviceAccountUser": ["dev-worker"]
    }
    assert "dev-custom-13" in found["access/service/dev-worker"].desired()["roles/run.invoker"]
    assert layout.product.variables["CUSTOM_VALIDATOR_SUBNETWORK"] == "inside"
    assert layout.product.variables["CUSTOM_VALIDATOR_SECRET_ACCOUNTS"] == (
        f"12=dev-custom-12@{project},13=dev-custom-13@{project}"
    )


def test_absent_roles_that_are_not_wanted_are_no_change(
    custom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoleBindings, "_bindings", lambda self: [])
    roles = next(
        each for each in layout_of(custom).resources() if each.address.startswith("access/job/")
    )

    assert change_of(roles) is None


def test_role_with_a_condition_is_in_line_once_it_is_made(
    custom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of a stage: that of the database, and that for jobs of custom validators."""
    policy = Policy()

    class Projects:
        def get_iam_policy(self, request: Any) -> Policy:
            return policy

        def set_iam_policy(self, request: Any) -> None:
            policy.CopyFrom(request.policy)

    monkeypatch.setattr(GoogleCloud, "number", "1")
    monkeypatch.setattr(GoogleCloud, "projects", Projects())
    roles = [each for each in layout_of(custom).resources() if each.kind == "project-role"]
    for role in roles:
        role.create()

    assert [role.name for role in roles] == ["dev-validator-jobs", "dev-database"]
    assert [change_of(role) for role in roles] == [None, None]
    policy.bindings.add(role="roles/editor").condition.title = "dev-database"
    change = change_of(roles[1])
    assert change is not None
    assert list(change.lines())[1:] == ["    further roles: roles/editor -> none"]


@pytest.mark.parametrize("host", ["", "/", "https://www.googleapis.com/compute/v1/"])
def test_network_of_a_database_is_compared_without_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    text = (STAGES / "dev.toml").read_text()
    (tmp_path / "dev.toml").write_text(text.replace("[database]", '[database]\nnetwork = "in"'))
    instance = layout_of(str(tmp_path / "dev.toml")).data.instance
    assert instance
    link = f"{host}projects/{instance.cloud.project}/global/networks/in"
    found = sqladmin.DatabaseInstance(settings={"ip_configuration": {"private_network": link}})
    monkeypatch.setattr(SqlInstance, "_found", lambda self: found)
    read = instance.read()

    assert read
    assert read["network"] == instance.desired()["network"]
