"""The steps of a pipeline after its tests, run against the emulated cloud with a federated identity.

The scripts are those of the file. The programs that they call (`make`, `docker`, `gcloud`, `apt-get`,
`python`) are replaced by one that writes down its arguments.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth
import pytest
import yaml
from google.auth.transport.requests import AuthorizedSession
from google.cloud import iam_admin_v1
from google.iam.v1 import iam_policy_pb2, policy_pb2

from devenv.gcp.config import CloudConfig
from devenv.oidc.provider import OidcProvider
from tests.emulator.conftest import ActAs
from tests.emulator.deploy.conftest import MakeStage, deploy
from tests.emulator.test_federation import SCOPES, id_token, provider
from tests.waiting import LIMIT

__all__ = ["provider"]

pytestmark = pytest.mark.xdist_group("stages")
ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "deploy.yml"
REPLACED = ("apt-get", "docker", "gcloud", "make", "python")
PERSON = "pipeline@example.org"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the calls of the replaced programs, one a line."""
    folder, written = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name in REPLACED:
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{written}"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return written


@pytest.fixture
def federated(
    act_as: ActAs,
    config: CloudConfig,
    provider: OidcProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """An identity of another provider that may act as the deployer, in the form of Google's action."""
    act_as("admin")
    place, account = f"projects/{config.number}/locations/global", config.email("deployer")
    with AuthorizedSession(google.auth.default(scopes=SCOPES)[0]) as session:  # type: ignore[no-untyped-call]
        pools = f"https://iam.googleapis.com/v1/{place}/workloadIdentityPools"
        session.post(f"{pools}?workloadIdentityPoolId=pipelines", json={}, timeout=LIMIT)
        settings: dict[str, Any] = {
            "oidc": {"issuerUri": provider.issuer, "allowedAudiences": ["shop"]},
            "attributeMapping": {"google.subject": "assertion.email"},
            "attributeCondition": f"assertion.email == '{PERSON}'",
        }
        providers = f"{pools}/pipelines/providers?workloadIdentityPoolProviderId=actions"
        session.post(providers, json=settings, timeout=LIMIT)
    pool = f"iam.googleapis.com/{place}/workloadIdentityPools/pipelines"
    policy = policy_pb2.Policy()
    policy.bindings.add(
        role="roles/iam.workloadIdentityUser", members=[f"principal://{pool}/subject/{PERSON}"]
    )
    resource = f"projects/{config.project}/serviceAccounts/{account}"
    with iam_admin_v1.IAMClient() as client:
        client.set_iam_policy(iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy))
    act_as("guest")  # the machine itself may do nothing
    token = id_token(provider, PERSON)
    credentials = _written(tmp_path, token, f"//{pool}/providers/actions", account)
    with monkeypatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
        yield
    act_as("admin")
    with iam_admin_v1.IAMClient() as client:
        client.set_iam_policy(
            iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy_pb2.Policy())
        )
    act_as("deployer")


def _written(folder: Path, token: str, audience: str, account: str) -> Path:
    """Write a token and the credentials that lead from it to an account; return the latter's path."""
    source, credentials = folder / "token", folder / "credentials.json"
    source.write_text(token)
    endpoint = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
    settings = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(source)},
        "service_account_impersonation_url": f"{endpoint}/{account}:generateAccessToken",
    }
    credentials.write_text(json.dumps(settings))
    return credentials


def scripts() -> Iterator[tuple[str, str]]:
    """Yield name and script of each step of the job `deploy`, with the region of the tests."""
    for step in yaml.safe_load(WORKFLOW.read_text())["jobs"]["deploy"]["steps"]:
        if "run" in step:
            yield step["name"], re.sub(r"\$\{\{ vars\.REGION \}\}", "us-west1", step["run"])


def test_workflow_deploys_a_stage_without_a_key(
    make_stage: MakeStage, federated: None, calls: Path
) -> None:
    """The steps run in the shell of GitHub's runners, and what they call of `deploy` in this process."""
    stage = make_stage("piped")
    activate = calls.parent / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()  # that of the repository would put its own Python first
    environ = {**os.environ, "STAGE": stage, "TAG": "1"}  # noqa: TID251 - as the runner gives it
    told: dict[str, str] = {}
    for name, script in scripts():
        written = len(calls.read_text().splitlines()) if calls.exists() else 0
        subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=calls.parent,
            env=environ,
            check=True,
        )
        for line in calls.read_text().splitlines()[written:]:
            program, *arguments = line.split()
            if program == "python":
                assert arguments[:2] == ["-m", "deploy"]
                told[name] = told.get(name, "") + deploy(*arguments[2:])

    called = calls.read_text().splitlines()
    assert called[:2] == [
        "make dev image validators",
        "gcloud auth configure-docker --quiet us-west1-docker.pkg.dev",
    ]
    image = "us-west1-docker.pkg.dev/validibot-local/piped-images/validibot:1"
    assert f"docker push --quiet {image}" in called
    assert "+ service/piped-web\n" in told["Plan"]
    assert "ok      web is healthy" in told["Apply"]
    assert "FAILED" not in told["Apply"]
