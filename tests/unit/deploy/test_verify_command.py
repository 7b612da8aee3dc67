"""`deploy verify` without an API key, and without a cloud."""

import pytest
import requests
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from typer.testing import CliRunner

from deploy.cli import app, main
from deploy.errors import DeployError
from deploy.layout import Layout
from deploy.rest import RestClient
from deploy.verify import Launches, StageCheck, results


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


def test_workflow_of_a_model_is_launched_if_the_stage_tells_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches: list[Launches] = []

    def no_checks(layout: Layout, given: Launches) -> list[StageCheck]:
        launches.append(given)
        return []

    monkeypatch.setattr("deploy.verify.checks", no_checks)
    monkeypatch.setattr("deploy.google.GoogleCloud.number", "1")
    for has_model, skipped in ((True, []), (False, ["report-review"])):
        answer = {"language_model": has_model}
        monkeypatch.setattr("deploy.verify._asked", lambda layout, url, answer=answer: answer)
        told = CliRunner().invoke(app, ["verify", "dev", "--api-key", "key"]).output

        assert launches.pop().skipped == skipped
        assert ("skipped workflow report-review: neither the site nor demo" in told) != has_model


def test_unknown_workflow_without_api_key_is_refused() -> None:
    result = CliRunner().invoke(app, ["verify", "dev", "--workflow", "decay"])

    assert isinstance(result.exception, DeployError)
    assert "the unknown workflow 'decay'" in str(result.exception)


def test_refusal_of_google_fails_its_check_only() -> None:
    def refused() -> None:
        raise Forbidden("Permission 'run.jobs.list' denied")  # type: ignore[no-untyped-call]

    found = list(results([StageCheck("jobs", refused), StageCheck("site", lambda: None)]))

    assert found[0][1].startswith("Google: Permission 'run.jobs.list' denied. Give the deployer")
    assert found[1] == ("site", "")


def test_rest_call_without_connection_is_an_error_of_google(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise requests.ConnectionError("no route")

    client = RestClient.__new__(RestClient)
    client._session = requests.Session()
    monkeypatch.setattr(client._session, "request", fail)

    with pytest.raises(ServiceUnavailable, match="no route"):
        client.call("GET", "https://compute.googleapis.com/compute/v1/x")


def test_command_that_google_refuses_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_args: object) -> None:
        raise Forbidden("Permission 'run.services.get' denied")  # type: ignore[no-untyped-call]

    monkeypatch.setattr("deploy.cli.status_lines", refused)

    with pytest.raises(SystemExit):
        main(["status", "dev"])
    assert capsys.readouterr().err == (
        "Google: Permission 'run.services.get' denied. Give the deployer that permission "
        "(docs/production.md lists its roles), then run `apply` again.\n"
    )
