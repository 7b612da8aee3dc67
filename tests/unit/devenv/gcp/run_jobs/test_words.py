"""Durations, digests and log addresses in Google's forms."""

from urllib.parse import parse_qs, urlsplit

import pytest

from devenv.gcp.run_jobs.life import go_duration
from devenv.gcp.run_jobs.runtimes.base import digest
from tests.unit.devenv.gcp.run_jobs.bench import JOB, Bench


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.22, "220ms"),
        (38.22, "38.22s"),
        (56.03, "56.03s"),
        (60, "1m0s"),
        (63.6, "1m3.6s"),
        (136.3, "2m16.3s"),
        (3602, "1h0m2s"),
        (59.999, "1m0s"),
        (-1, "0s"),
    ],
)
def test_durations_have_go_format(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@pytest.mark.parametrize("image", ["demo/sim:1", "demo/sim", "localhost:5000/sim", "r:1/sim:2"])
def test_digest_of_tag_and_of_digest(image: str) -> None:
    repository, _, number = digest(image).partition("@sha256:")

    assert image.startswith(repository)
    assert repository.endswith("sim")
    assert len(number) == 64
    assert digest(digest(image)) == digest(image)


@pytest.mark.anyio
async def test_log_uri_is_cloud_console(bench: Bench) -> None:
    execution = await bench.run(name=JOB)

    address = urlsplit(execution.log_uri)
    query = parse_qs(address.query)
    assert address.netloc == "console.cloud.google.com"
    assert query["project"] == ["demo"]
    short = execution.name.rsplit("/", 1)[-1]
    assert f'"run.googleapis.com/execution_name"="{short}"' in query["advancedFilter"][0]
