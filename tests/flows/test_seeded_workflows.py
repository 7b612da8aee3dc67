"""The samples of each workflow of the gallery have the expected results on the emulated cloud."""

import hashlib
from pathlib import Path

import pytest

from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(180), pytest.mark.both_clouds]

GALLERY = Path("validibot/workflows/gallery")
SLUGS = sorted(path.parent.name for path in GALLERY.glob("*/workflow.yaml"))


@pytest.mark.parametrize("slug", SLUGS)
def test_sample_of_workflow_passes(stack: Stack, slug: str) -> None:
    run = stack.run(slug, stack.sample(slug))

    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    assert {step["status"] for step in run["steps"]} == {"PASSED"}


@pytest.mark.parametrize("slug", SLUGS)
def test_failing_sample_fails_with_findings(stack: Stack, slug: str) -> None:
    run = stack.run(slug, stack.sample(slug, "failing_sample"))

    assert (run["state"], run["result"]) == ("COMPLETED", "FAIL"), run
    errors = [i for s in run["steps"] for i in s["issues"] if i["severity"] == "ERROR"]
    assert errors
    assert all(error["message"] for error in errors)


def test_setup_creates_every_workflow_of_gallery(stack: Stack) -> None:
    assert [workflow["slug"] for workflow in stack.facts["workflows"]] == SLUGS


def test_simulation_uses_every_cloud_service(stack: Stack) -> None:
    run = stack.run("energyplus-small-office", stack.sample("energyplus-small-office"))

    kinds = stack.events(run["id"])
    stations = ["created", "queued", "delivered", "launched", "running", "called_back", "passed"]
    assert [kind for kind in kinds if kind in stations] == stations


def test_simulation_stores_metrics_and_artifacts(stack: Stack) -> None:
    run = stack.run("energyplus-small-office", stack.sample("energyplus-small-office"))
    (step,) = run["steps"]

    values = {output["slug"]: output["value"] for output in step["output_values"]}
    assert values["site_eui_kwh_m2"] > 0
    assert values["unmet_heating_hours"] >= 0
    names = {artifact["name"] for artifact in step["artifacts"]}
    assert {"eplusout.err", "eplusout.sql", "eplusout.csv"} <= names


def test_downloaded_artifact_has_stored_hash(stack: Stack) -> None:
    run = stack.run("energyplus-design-day", stack.sample("energyplus-design-day"))
    for artifact in run["steps"][0]["artifacts"]:
        content = stack.api.get(stack.web + artifact["url"]).raise_for_status().content

        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
