"""The samples of each workflow of the gallery have the expected results on the emulated cloud."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

GALLERY = Path("validibot/workflows/gallery")
SLUGS = sorted(path.parent.name for path in GALLERY.glob("*/workflow.yaml"))

type Passed = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def passed(stack: Stack) -> Passed:
    """Return the ended run of a workflow's passing sample, which is run once."""
    return cache(lambda slug: stack.run(slug, stack.sample(slug)))


def _check(run: dict[str, Any]) -> None:
    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    assert {step["status"] for step in run["steps"]} == {"PASSED"}


@pytest.mark.parametrize("slug", SLUGS)
def test_sample_of_workflow_passes(passed: Passed, slug: str) -> None:
    _check(passed(slug))


# An engine in the worker, and a container with several files.
@pytest.mark.both_clouds
@pytest.mark.parametrize("slug", ["meter-readings-schema", "energyplus-design-day"])
def test_sample_passes_on_both_clouds(passed: Passed, slug: str) -> None:
    _check(passed(slug))


@pytest.mark.parametrize("slug", SLUGS)
def test_failing_sample_fails_with_findings(stack: Stack, slug: str) -> None:
    run = stack.run(slug, stack.sample(slug, "failing_sample"))

    assert (run["state"], run["result"]) == ("COMPLETED", "FAIL"), run
    errors = [i for s in run["steps"] for i in s["issues"] if i["severity"] == "ERROR"]
    assert errors
    assert all(error["message"] for error in errors)


def test_setup_creates_every_workflow_of_gallery(stack: Stack) -> None:
    assert [workflow["slug"] for workflow in stack.facts["workflows"]] == SLUGS


def test_simulation_uses_every_cloud_service(stack: Stack, passed: Passed) -> None:
    kinds = stack.events(passed("energyplus-small-office")["id"])
    stations = ["created", "queued", "delivered", "launched", "running", "called_back", "passed"]
    assert [kind for kind in kinds if kind in stations] == stations


def test_simulation_stores_metrics_and_artifacts(passed: Passed) -> None:
    (step,) = passed("energyplus-small-office")["steps"]

    values = {output["slug"]: output["value"] for output in step["output_values"]}
    assert values["site_eui_kwh_m2"] > 0
    assert values["unmet_heating_hours"] >= 0
    names = {artifact["name"] for artifact in step["artifacts"]}
    assert {"eplusout.err", "eplusout.sql", "eplusout.csv"} <= names


@pytest.mark.both_clouds
def test_downloaded_artifact_has_stored_hash(stack: Stack, passed: Passed) -> None:
    for artifact in passed("energyplus-design-day")["steps"][0]["artifacts"]:
        content = stack.api.get(stack.web + artifact["url"]).raise_for_status().content

        assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
