"""`gcloud run`, `iam` and `services` against the emulated cloud, unmodified and without a login."""

import json
import os

import httpx

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.foreign.conftest import Gcloud

REGION = "--region=us-west1"


def test_gcloud_deploys_splits_and_deletes_a_service(gcloud: Gcloud, config: CloudConfig) -> None:
    name = f"gcloud-{os.urandom(3).hex()}"
    account = f"--service-account={config.email('web')}"
    deploy = ("run", "deploy", name, "--image=echo-server:1", REGION, account, "--quiet")
    gcloud(*deploy, "--allow-unauthenticated", "--set-env-vars=A=1")
    gcloud(*deploy, "--no-traffic", "--tag=next", "--max-instances=2")
    gcloud("run", "services", "update-traffic", name, REGION, "--to-tags=next=50")
    found = json.loads(gcloud("run", "services", "describe", name, REGION, "--format=json"))
    gcloud("run", "services", "delete", name, REGION, "--quiet")

    percents = [target.get("percent") for target in found["status"]["traffic"]]
    assert sorted(filter(None, percents)) == [50, 50]
    assert found["status"]["conditions"][0] == {
        **found["status"]["conditions"][0],
        "type": "Ready",
        "status": "True",
    }


def test_gcloud_creates_executes_and_deletes_a_job(gcloud: Gcloud, config: CloudConfig) -> None:
    name = f"gcloud-{os.urandom(3).hex()}"
    account = f"--service-account={config.email('web')}"
    jobs = ("run", "jobs")
    gcloud(*jobs, "create", name, "--image=echo-server:1", REGION, account, "--max-retries=0")
    # Without the variable PORT, which only services have, this program fails.
    gcloud(*jobs, "execute", name, REGION, "--update-env-vars=PORT=0", "--async")
    listed = gcloud(
        *jobs, "executions", "list", f"--job={name}", REGION, "--format=value(metadata.name)"
    ).split()
    gcloud(*jobs, "delete", name, REGION, "--quiet")

    assert listed[0].startswith(f"{name}-")


def test_gcloud_makes_an_account_with_a_role(
    gcloud: Gcloud, cloud: Cloud, config: CloudConfig
) -> None:
    account = "made-by-gcloud"
    email = config.email(account)
    gcloud("iam", "service-accounts", "create", account, "--display-name=Made")
    gcloud(
        *("projects", "add-iam-policy-binding", config.project),
        *(f"--member=serviceAccount:{email}", "--role=roles/run.viewer", "--condition=None"),
    )
    metadata = cloud.environ(account)["GCE_METADATA_HOST"]
    token = httpx.get(
        f"http://{metadata}/computeMetadata/v1/instance/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"},
        trust_env=False,
    ).json()["access_token"]
    url = f"{cloud.plain_url}/v2/projects/{config.project}/locations/us-west1/jobs"
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(url, headers=headers, trust_env=False)
    gcloud("iam", "service-accounts", "delete", email, "--quiet")

    assert answer.status_code == 200


def test_gcloud_lists_projects_and_enables_services(gcloud: Gcloud, config: CloudConfig) -> None:
    gcloud("services", "enable", "run.googleapis.com", "cloudtasks.googleapis.com")

    assert gcloud("projects", "list", "--format=value(projectId)").split() == [config.project]
