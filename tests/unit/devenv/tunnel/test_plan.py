"""Unit tests of the dry run: it prints what the product would ask of Google."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from devenv.tunnel import plan
from tests.declared import config_in
from tests.unit.devenv.tunnel.samples import PATHS, config
from validibot.core.storage.capability import StorageCapability
from validibot.runs.backends.cloud_run import _overrides


def test_dry_run_has_variables_of_job(tmp_path: Path) -> None:
    words = dict.fromkeys(("input_uri", "output_uri", "capability_url"), "x")
    request: Any = SimpleNamespace(**words, run_id=UUID(int=1), timeout_seconds=1)
    capability = StorageCapability("token", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "gs://b/", "p")

    (container,) = _overrides(request, capability).container_overrides

    tunnel = config_in(tmp_path).stacks[("tunnel",)].tunnel
    assert tunnel
    assert [variable.name for variable in container.env] == list(tunnel.job_env)


def test_dry_run_names_every_api_of_a_run() -> None:
    called = {
        (step.call.method, urlsplit(step.call.url).hostname)
        for step in plan.steps(config(), PATHS, job_env=())
        if step.when != "preflight"
    }

    assert called == {
        ("POST", "cloudtasks.googleapis.com"),
        *((verb, "run.googleapis.com") for verb in ("GET", "POST")),
        *((verb, "storage.googleapis.com") for verb in ("GET", "POST", "DELETE")),
        ("POST", "iamcredentials.googleapis.com"),
        ("POST", "sts.googleapis.com"),
        ("GET", "www.googleapis.com"),
    }
