"""Tunnel mode where there is no tunnel: each command says what is missing, and starts nothing."""

import json
from pathlib import Path

import pytest

from tests.cli import project as projects
from tests.cli.project import CliProject

TABLE = """
[tunnel]
provider = "ngrok"
project = "my-project"
region = "us-west1"
queue = "runs"
bucket = "my-bucket"
tasks_account = "tasks@my-project.iam.gserviceaccount.com"
scheduler_account = "sweep@my-project.iam.gserviceaccount.com"
storage_account = "files@my-project.iam.gserviceaccount.com"
job_accounts = [ "fmu@my-project.iam.gserviceaccount.com" ]
jobs = [ "validator-fmu" ]
"""
NOWHERE = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere", "https_proxy": "http://127.0.0.1:1"}


@pytest.fixture
def project(tmp_path: Path) -> CliProject:
    made = projects.make(tmp_path / "project")
    (made.root / "devenv.local.toml").write_text(TABLE)
    return made


@pytest.mark.parametrize(
    "command", [("tunnel",), ("tunnel", "--check"), ("up", "--mode", "tunnel")]
)
def test_missing_tunnel_table_names_docs(project: CliProject, command: tuple[str, ...]) -> None:
    (project.root / "devenv.local.toml").unlink()

    done = project.devenv(*command)

    assert done.returncode == 2
    assert "There is no table [tunnel]" in done.stderr
    assert "docs/modes/tunnel.md" in done.stderr


def test_invalid_value_in_local_file_is_named(project: CliProject) -> None:
    (project.root / "devenv.local.toml").write_text(TABLE.replace("ngrok", "carrier-pigeon"))

    done = project.devenv("tunnel")

    assert done.returncode == 2
    assert "tunnel.provider is 'carrier-pigeon'; it must look like" in done.stderr


def test_local_file_refuses_other_tables(project: CliProject) -> None:
    (project.root / "devenv.local.toml").write_text("[gcp]\n")

    done = project.devenv("tunnel")

    assert done.returncode == 2
    assert "devenv.local.toml:1: unknown table [gcp]" in done.stderr


def test_dry_run_needs_no_credentials_or_network(project: CliProject) -> None:
    done = project.devenv("tunnel", "--dry-run", "--json", **NOWHERE)

    plan = json.loads(done.stdout)
    assert done.returncode == 0
    assert plan["command"][:2] == ["ngrok", "http"]
    urls = [step["call"]["url"] for step in plan["calls"]]
    assert any(url.endswith("/jobs/validator-fmu:run") for url in urls)
    assert all(url.startswith("https://") for url in urls)


def test_up_refuses_tunnel_that_fails_checks(project: CliProject) -> None:
    done = project.devenv("up", "--mode", "tunnel", "--detach", **NOWHERE)

    assert done.returncode == 1
    assert "ngrok is not there" in done.stderr
    assert "Google's certificates cannot be fetched" in done.stderr
    assert "gcloud auth application-default login" in done.stderr
    assert not (project.root / ".devenv" / "state.json").exists()


def test_check_prints_results_as_json(project: CliProject) -> None:
    done = project.devenv("tunnel", "--check", "--json", **NOWHERE)

    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 1
    assert set(found) == {"program", "clock", "credentials"}
    assert all(check["fix"] for check in found.values() if check["result"] == "fail")


def test_closed_tunnel_is_reported(project: CliProject) -> None:
    done = project.devenv("tunnel", "--json")

    assert (done.returncode, json.loads(done.stdout)) == (1, {"open": False})
    assert "make up MODE=tunnel" in done.stderr
