"""`deploy plan`, `apply`, `rollback` and `destroy` by Google's clients against the emulated cloud."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from google.cloud import run_v2, secretmanager_v1, tasks_v2

from deploy.cli import layout_of
from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.plan import change_of
from deploy.resources.monitoring import AlertPolicy
from deploy.resources.service import serving_revision
from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs
from tests.emulator.deploy.conftest import (
    ALERTS,
    BUDGET,
    DATABASE,
    PLACE,
    TEXT,
    MakeStage,
    deploy,
)
from tests.emulator.deploy.custom_jobs import (
    NEEDED,
    PERMISSIONS,
    custom_backend,
    problems_of_secrets,
    refusal_without,
    use_job,
)
from tests.emulator.deploy.drift import NO_DRIFT, Drift
from tests.emulator.deploy.killer import MANY, Killed, Killer
from tests.emulator.test_run_services import ask

# One worker for all: they share a stage.
pytestmark = pytest.mark.xdist_group("stages")


def serving(service: str) -> str:
    """Return the image tag of the revision that has the traffic."""
    with run_v2.ServicesClient() as services, run_v2.RevisionsClient() as revisions:
        found = services.get_service(name=f"{PLACE}/services/{service}")
        name = f"{found.name}/revisions/{serving_revision(found)}"
        return str(revisions.get_revision(name=name).labels["release"])


def test_second_apply_changes_nothing(make_stage: MakeStage, cloud: Cloud) -> None:
    stage = make_stage("empty", BUDGET)
    path = Path(stage)
    path.write_text(f'domain = "app.example.com"\n{path.read_text()}')
    planned = deploy("plan", stage)
    with tasks_v2.CloudTasksClient() as queues:
        queues_before = [each.name for each in queues.list_queues(parent=PLACE)]
    applied = deploy("apply", stage)
    with secretmanager_v1.SecretManagerServiceClient() as secrets:
        key = "projects/validibot-local/secrets/empty-django-secret-key/versions/latest"
        value = secrets.access_secret_version(name=key).payload.data.decode()

    assert "+ service/empty-web\n" in planned
    assert f"{PLACE}/queues/empty-runs" not in queues_before
    assert "    $ gcloud run deploy empty-web --no-allow-unauthenticated" in applied
    assert "+ budget/empty\n" in applied
    assert "+ domain/app.example.com\n" in applied
    assert '\'{"rule": [{"action": {"type": "Delete"}' in applied
    assert len(value) >= 50
    assert value not in applied
    assert deploy("apply", stage) == "Nothing to change.\n"
    assert deploy("plan", stage) == "Nothing to change.\n"
    web, worker = (
        f"https://empty-{name}-123456789012.us-west1.run.app" for name in ("web", "worker")
    )
    assert (ask(cloud, web).status_code, ask(cloud, worker).status_code) == (200, 403)
    assert "service/empty-web: ready, empty-web-" in deploy("status", stage)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


def test_apply_continues_after_being_killed(make_stage: MakeStage, killer: Killer) -> None:
    stage = make_stage("killed", f'{DATABASE}network = "default"\n{ALERTS}')
    dice = random.Random(13)  # noqa: S311 - the same points in every run
    deaths = 0
    for longest in range(10, 400, 10):
        killer.left = dice.randrange(longest)
        try:
            deploy("apply", stage)
        except Killed:
            deaths += 1
        else:
            break
    killer.left = MANY

    layout = layout_of(stage)
    url = layout.data.secret("DATABASE_URL").value()

    assert deaths >= 5
    assert re.search(r"@10\.64\.\d+\.\d+:5432/validibot\?sslmode=require$", url)
    assert not [each for each in layout.resources() if each.kind == "project-role"]
    assert deploy("plan", stage) == "Nothing to change.\n"
    assert "peering" in [each.kind for each in layout.resources() if each.read()]
    alerts = [each.display_name for each in AlertPolicy.listed(layout_of(stage).cloud)]
    assert sorted(each for each in alerts if each.startswith("killed-")) == [
        *("killed-database", "killed-down", "killed-errors", "killed-failed-tasks"),
        "killed-latency",
    ]
    Path(stage).write_text(TEXT)
    kept = deploy("apply", stage, given="n\n")
    assert "Delete these 11 resources?" in kept
    assert "- alert/killed-database" in kept


def test_new_image_is_rolled_out_and_back(make_stage: MakeStage) -> None:
    stage = make_stage("rolled")
    deploy("apply", stage)
    planned = deploy("plan", stage, "--tag", "2")
    deploy("apply", stage, "--tag", "2")
    after = serving("rolled-web"), serving("rolled-worker")
    again = deploy("apply", stage, "--tag", "2")
    deploy("rollback", stage)
    back = serving("rolled-web"), serving("rolled-worker")
    with pytest.raises(DeployError, match="failed to start and listen"):
        deploy("apply", stage, "--tag", "broken")
    with_broken = serving("rolled-web"), serving("rolled-worker")
    deploy("apply", stage, "--tag", "2")

    assert (
        "    image: us-west1-docker.pkg.dev/validibot-local/rolled-images/validibot:1 -> "
        in planned
    )
    assert "~ traffic/rolled-web\n" in planned
    assert after == ("2", "2")
    assert again == "Nothing to change.\n"
    assert back == with_broken == ("1", "1")
    assert (serving("rolled-web"), serving("rolled-worker")) == ("2", "2")


def test_failing_release_stops_before_the_services(applied: str) -> None:
    text = Path(applied).read_text()
    Path(applied).write_text(f"{text}\n[env]\nFAILS = 'migrate_checked'\n")
    with pytest.raises(DeployError) as refused:
        deploy("apply", applied, "--tag", "2")
    planned = deploy("plan", applied, "--tag", "2")
    Path(applied).write_text(text)
    deploy("apply", applied)

    assert str(refused.value).startswith("release/shared-migrate failed: ")
    assert "Read its log with `gcloud run jobs executions list" in str(refused.value)
    assert "~ service/shared-web\n" in planned
    assert serving("shared-web") == "1"
    assert deploy("plan", applied) == "Nothing to change.\n"


def test_secret_without_value_names_next_command(applied: str) -> None:
    text = Path(applied).read_text()
    Path(applied).write_text(f'secrets = ["OIDC_CLIENT_SECRET"]\n{text}')
    with pytest.raises(DeployError) as no_value:
        deploy("apply", applied)
    deploy("secrets", "set", applied, "OIDC_CLIENT_SECRET", given="of a test\n")
    planned = deploy("plan", applied, "--only", "secret")
    Path(applied).write_text(text)
    deploy("apply", applied, "--yes")

    assert str(no_value.value) == (
        "secret/shared-oidc-client-secret has no value. Give it one with `python -m deploy secrets "
        "set shared shared-oidc-client-secret`, which reads standard input, then run `apply` again."
    )
    assert planned == "Nothing to change.\n"


def test_stray_resources_are_deleted_after_a_question(applied: str) -> None:
    """A secret that the stage names no longer is kept until the operator says so."""
    layout = layout_of(applied)
    stray = replace(layout.data.secrets[0], name="shared-old")
    stray.create_empty()
    kept = deploy("apply", applied, given="n\n")
    without_question = deploy("apply", applied, "--keep")
    planned = deploy("plan", applied)
    deploy("apply", applied, "--yes")

    assert "Delete these 1 resources?" in kept
    assert "- secret/shared-old" in without_question
    assert "Delete" not in without_question
    assert planned.startswith("- secret/shared-old\n")
    assert deploy("plan", applied) == "Nothing to change.\n"
    with pytest.raises(DeployError, match="would be deleted with everything that users stored"):
        deploy("destroy", applied, "--yes")


def test_worker_makes_and_runs_jobs_of_custom_validators(applied: str, act_as: ActAs) -> None:
    path = Path(applied)
    text = path.read_text()
    path.write_text(f"custom_validators = true\n{text}\n[custom_secrets]\n12 = [ 'API_KEY' ]\n")
    made = deploy("secrets", "set", applied, "shared-custom-12-api-key", given="k")
    told = deploy("apply", applied, "--only", "account,role,project-role,secret,access")
    planned = deploy("plan", applied)
    layout, backend = layout_of(applied), custom_backend()
    act_as("shared-worker")
    backend.check_preparation()
    use_job(backend)
    refused = [refusal_without(layout, name, backend, act_as) for name in NEEDED]
    named = [refusal_without(layout, need, backend, act_as) for need in PERMISSIONS]
    problems = problems_of_secrets(layout)
    layout.cloud.jobs.delete_job(name=f"{PLACE}/jobs/shared-custom-7")
    path.write_text(text)
    removed = deploy("apply", applied, "--yes")

    assert "has version 1" in made
    assert problems[0] == ""
    assert "secret/shared-custom-12-api-key has no value" in problems[1]
    assert "shared-custom-7 needs version 1 of the secret" in problems[2]
    assert "run.jobs.create" in refused[0]
    assert all(need in text for need, text in zip(PERMISSIONS, named, strict=True))
    assert all("iam.serviceAccounts.actAs" in each for each in refused[1:])
    assert "+ role/shared_validatorJobs\n" in told
    assert "project-role/" not in planned
    account = backend.options.custom_account
    assert f"env.CUSTOM_VALIDATOR_ACCOUNT: none -> {account}" in planned
    assert not [line for line in planned.splitlines() if "custom-12" in line and line[0] in "+-"]
    assert "- account/shared-validator-custom\n" in removed
    assert deploy("plan", applied) == "Nothing to change.\n"


def test_deleted_role_is_restored_because_its_name_stays_taken(applied: str) -> None:
    path = Path(applied)
    text = path.read_text()
    told = []
    for wanted in ("custom_validators = true\n", "", "custom_validators = true\n", ""):
        path.write_text(f"{wanted}{text}")
        only = ("--only", "role") if wanted else ()
        told.append(deploy("apply", applied, "--yes", *only))

    assert told[2].startswith("+ role/shared_validatorJobs\n")
    assert deploy("plan", applied) == "Nothing to change.\n"


def test_budget_of_a_former_account_is_deleted(applied: str) -> None:
    path = Path(applied)
    text = path.read_text()
    path.write_text(text + BUDGET)
    deploy("apply", applied, "--only", "apis,budget")
    unnamed = deploy("plan", applied, "--only", "budget")
    path.write_text(f'former_budget_accounts = ["01AB23-456789-CDEF01"]\n{text}')
    planned = deploy("plan", applied)
    deploy("apply", applied, "--yes")

    assert unnamed == "Nothing to change.\n"
    assert planned.startswith("- budget/shared\n")
    assert deploy("plan", applied) == "Nothing to change.\n"
    path.write_text(text)


def test_rotated_secret_reaches_both_services(applied: str) -> None:
    secret = layout_of(applied).data.secret("API_KEY_PEPPER")
    before, value = secret.versions(), secret.value()
    told = deploy("secrets", "rotate", applied, "API_KEY_PEPPER", "--yes")
    after = secret.versions()

    assert told.startswith(
        "The rotation of API_KEY_PEPPER ends all API keys, shared links, launch links, invitations, "
    )
    assert f"--secret={secret.name}\n" in told
    assert [len(before), len(after)] == [1, 1]
    assert before != after
    versions = secret.cloud.secrets.list_secret_versions(parent=before[0].partition("/versions")[0])
    # A week later Secret Manager destroys the old one, which is billed until then.
    assert [bool(each.scheduled_destroy_time) for each in versions] == [False, True]
    assert secret.value() != value
    assert secret.value() not in told
    tagged = [line for line in deploy("status", applied).splitlines() if "previous is" in line]
    assert [line.partition(":")[0] for line in tagged] == [
        "service/shared-worker", "service/shared-web",
    ]  # fmt: skip
    assert deploy("plan", applied) == "Nothing to change.\n"


def test_rotation_is_repeated_after_being_killed(applied: str, killer: Killer) -> None:
    """Wherever it was killed, the services run, and the next rotation leaves one version."""
    secret = layout_of(applied).data.secret("DJANGO_SECRET_KEY")
    update = "UpdateServiceRequest"  # a revision and the traffic of one service, then of the other
    for requests in (["AddSecretVersionRequest"], [update], [update] * 3):
        killer.requests = requests
        with pytest.raises(Killed):
            deploy("secrets", "rotate", applied, "DJANGO_SECRET_KEY", "--yes")
        deploy("apply", applied)
        assert serving("shared-web") == "1"
        assert secret.versions()
    told = deploy("secrets", "rotate", applied, "DJANGO_SECRET_KEY", "--yes")

    assert "is rotated; its older versions are disabled, and destroyed in a week" in told
    assert len(secret.versions()) == 1
    assert deploy("plan", applied) == "Nothing to change.\n"


def test_given_secret_is_rotated_from_standard_input_only(applied: str) -> None:
    text = Path(applied).read_text()
    Path(applied).write_text(f'secrets = ["OIDC_CLIENT_SECRET"]\n{text}')
    try:
        with pytest.raises(DeployError, match="OIDC_CLIENT_SECRET --yes < FILE`"):
            deploy("secrets", "rotate", applied, "OIDC_CLIENT_SECRET", "--yes", given="\n")
        with pytest.raises(DeployError, match=r"differs from the stage file.* Run `apply` first"):
            deploy("secrets", "rotate", applied, "OIDC_CLIENT_SECRET", "--yes", given="x\n")
        refused = deploy("secrets", "rotate", applied, "DJANGO_SECRET_KEY", given="n\n")
    finally:
        Path(applied).write_text(text)

    assert "ends all sessions, the links in mails" in refused
    assert "is rotated" not in refused


def test_golive_names_failed_checks(applied: str) -> None:
    """The cloud is in order; the stage file has no domain, mail or error reports."""
    with pytest.raises(DeployError) as refused:
        deploy("golive", applied)

    assert str(refused.value) == (
        "5 checks failed: domain is set, mail has a provider, instances are kept warm, errors are "
        "reported, alerts have addresses. Mend them, then run `golive` again."
    )


def test_refusal_names_resource_and_next_step(
    applied: str, act_as: ActAs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.cli.GoogleCloud", GoogleCloud)
    act_as("guest")
    with pytest.raises(DeployError) as refused:
        deploy("plan", applied)

    assert str(refused.value).startswith("project/validibot-local: ")
    assert "Give the deployer that permission" in str(refused.value)


def test_drift_of_each_setting_is_seen_and_mended(
    applied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting of one resource of each kind is compared by `plan`, and put right by an update.

    Services are only read: each change would start a revision.
    """
    text = Path(applied).read_text()
    Path(applied).write_text(f"custom_validators = true\n{text}{DATABASE}{ALERTS}")
    made = ("account", "database", "role", "alert-address", "uptime-check", "log-metric", "alert")
    deploy("apply", applied, "--only", ",".join(made))
    drift, unseen, unmended, mended = Drift(monkeypatch), [], [], 0
    for resource in {type(each): each for each in layout_of(applied).resources()}.values():
        for message, path in drift.settings(resource) if resource.kind not in NO_DRIFT else ():
            if not drift.is_seen(resource, message, path):
                unseen.append((resource.address, path))
            if resource.kind != "service" and drift.change(resource, path):
                if change := change_of(resource):
                    change.carry_out()
                mended += 1
                if resource.read() != resource.desired():
                    unmended.append((resource.address, path))
    Path(applied).write_text(text)
    deploy("apply", applied, "--yes")

    assert (unseen, unmended) == ([], [])
    assert mended > 60
    assert deploy("plan", applied) == "Nothing to change.\n"
