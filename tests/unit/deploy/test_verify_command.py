"""`deploy verify` without an API key, and without a cloud."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.errors import DeployError


@pytest.fixture(autouse=True)
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VALIDIBOT_TOKEN", raising=False)
    monkeypatch.delenv("VALIDIBOT_MAILBOX", raising=False)
    monkeypatch.setattr("deploy.verify.checks", lambda layout, launches: [])


def test_workflows_without_api_key_are_named_as_skipped() -> None:
    told = CliRunner().invoke(app, ["verify", "dev", "--workflow", "fmu-decay"]).output

    assert told == (
        "skipped sign-up by mail: name a mailbox with --mailbox or VALIDIBOT_MAILBOX\n"
        "skipped workflow fmu-decay\n"
        "Without an API key nothing is launched. Sign in as a member of demo, make a key under Settings > "
        "API keys, and repeat the command with --api-key or VALIDIBOT_TOKEN.\n"
    )


def test_workflows_are_by_default_those_that_the_stage_can_run() -> None:
    told = CliRunner().invoke(app, ["verify", "dev"]).output.splitlines()
    skipped = {line.removeprefix("skipped workflow ") for line in told if "workflow " in line}
    gallery = {
        path.parent.name for path in Path("validibot").glob("workflows/gallery/*/workflow.yaml")
    }

    assert skipped == gallery - {"report-review"} | {"report-review: [env] has no AI_ENDPOINT_URL"}


def test_unknown_workflow_without_api_key_is_refused() -> None:
    result = CliRunner().invoke(app, ["verify", "dev", "--workflow", "decay"])

    assert isinstance(result.exception, DeployError)
    assert "the unknown workflow 'decay'" in str(result.exception)
