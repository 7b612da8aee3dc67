"""The app at Modal of a stage, with a stand-in for the package."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import modal_app
from deploy.cli import main
from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.layout import Layout
from deploy.layout.names import StageNames
from deploy.modal_app import publish
from deploy.resources.access import RoleBindings
from deploy.stage_file import STAGES, read_stage
from tests import stand_in_modal
from tests.stand_in_modal import server

PLAIN = (STAGES / "dev.toml").read_text()
TOKENS = '"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"'
WITH_MODAL = PLAIN.replace("secrets = [", f"secrets = [ {TOKENS},") + (
    'SENTRY_DSN = "https://sentry.example"\n\n[modal]\nenvironment = "main"\nregion = "eu"\n'
)


@pytest.fixture(autouse=True)
def _modal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "modal", stand_in_modal)
    monkeypatch.setattr(GoogleCloud, "number", "1")
    yield
    stand_in_modal.reset()


def layout(folder: Path, text: str = WITH_MODAL) -> Layout:
    (folder / "dev.toml").write_text(text)
    stage = read_stage(str(folder / "dev.toml"))
    return Layout(stage, GoogleCloud(stage.project, stage.region), lambda *_: None)


def test_app_has_confined_function_for_each_validator(tmp_path: Path) -> None:
    told: list[str] = []
    publish(layout(tmp_path), tell=told.append)

    assert sorted(name for _, name in server.functions) == [
        "validibot-validator-energyplus",
        "validibot-validator-fmu",
        "validibot-validator-schematron",
        "validibot-validator-shacl",
    ]
    _, options = server.functions["dev-validators", "validibot-validator-energyplus"]
    place = "australia-southeast1-docker.pkg.dev/validibot-dev/dev-images"
    image = options["image"]
    assert (image.tag, image.entry) == (f"{place}/validator-energyplus:0.1.0", [])
    assert image.secret == "validibot-registry: SERVICE_ACCOUNT_JSON"
    assert (options["memory"], options["cpu"], options["timeout"]) == ((4096, 4096), 2.0, 1500)
    assert options["single_use_containers"]
    assert options["restrict_modal_access"]
    assert options["region"] == "eu"
    assert options["env"]["SENTRY_DSN"] == "https://sentry.example"
    assert told[1] == (
        f"function/dev-validators/validibot-validator-fmu: {place}/validator-fmu:0.1.0, 1024 MiB"
    )


def test_product_uses_app_and_worker_may_make_id_tokens(tmp_path: Path) -> None:
    stage = layout(tmp_path)
    account = "dev-validator-modal"
    roles = {
        (each.on, role): names
        for each in stage.resources()
        if isinstance(each, RoleBindings)
        for role, names in each.roles.items()
    }

    email = f"{account}@validibot-dev.iam.gserviceaccount.com"
    variables = stage.product.variables
    assert variables["EXECUTION_BACKEND"] == "modal"
    assert variables["MODAL_APP"] == "dev-validators"
    assert variables["MODAL_CALLER_ACCOUNT"] == email
    assert email in variables["ALLOWED_CALLERS"].split(",")
    assert roles[account, "roles/iam.serviceAccountOpenIdTokenCreator"] == ["dev-worker"]
    assert account in roles["dev-worker", "roles/run.invoker"]


def test_stage_without_table_stays_without_modal(tmp_path: Path) -> None:
    stage = layout(tmp_path, PLAIN)

    assert not [name for name in stage.product.variables if "MODAL" in name]
    assert not [each for each in stage.resources() if "modal" in each.address]
    with pytest.raises(DeployError, match=r"The stage dev has no table `\[modal\]`"):
        publish(stage, tell=lambda _: None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (TOKENS, '"MODAL_TOKEN_ID"', "needs MODAL_TOKEN_SECRET: add it to `secrets`"),
        ("image_tag", "custom_validators = true\nimage_tag", "needs Cloud Run jobs: set it to"),
        ("environment =", "environments =", "unknown key `modal.environments`"),
    ],
)
def test_wrong_table_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DeployError) as refused:
        layout(tmp_path, WITH_MODAL.replace(old, new, 1))

    assert message in str(refused.value)


def test_missing_package_error_names_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)

    with pytest.raises(DeployError, match=r"-r requirements/modal\.txt"):
        publish(layout(tmp_path), tell=lambda _: None)


def test_refused_deployment_names_secret_and_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev.toml").write_text(WITH_MODAL)
    server.errors["deploy"] = stand_in_modal.exception.AuthError("Token missing.")

    with pytest.raises(SystemExit):
        main(["modal", str(tmp_path / "dev.toml")])

    error = capsys.readouterr().err
    assert error.startswith("modal/dev-validators: Token missing. Is there a token (`modal token")
    assert "the secret validibot-registry" in error


def test_validator_longer_than_its_id_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modal_app, "_LONGEST_SECONDS", 299)
    fmu = [each for each in layout(tmp_path).names.validators if each.slug == "fmu"]
    monkeypatch.setattr(StageNames, "validators", fmu)

    with pytest.raises(DeployError, match=r"validators/fmu: `budgets.timeout_seconds` is 300, but"):
        publish(layout(tmp_path), tell=lambda _: None)
    assert not server.functions
