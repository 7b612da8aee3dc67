"""Google's Go clients against the emulated cloud: one Go program, with a file for each service.

The program runs once, as `admin`; each of its tests is one here, and the last one compares the
methods that it has called with those that the emulated cloud serves.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_socket

from devenv.environment import machine
from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.cloud import ROOT
from tests.emulator.foreign.conftest import skip_or_fail
from tests.emulator.foreign.coverage import MethodCoverage

PROGRAM = ROOT / ".tools" / "go-clients"
SOURCES = Path(__file__).parent / "go"
TIMEOUT = 180
EXCEPTIONS = {
    "logging.ConfigServiceV2.UpdateSettings": "is always refused for projects; the refusal is tested",
    "resourcemanager.Projects.ListProjects": "is always refused, as the project has no parent; the refusal is tested",
    "sql.SqlInstancesService.Export": "needs a PostgreSQL, which this cloud has not; test_gcloud_sql.py has one",
    "sql.SqlInstancesService.Import": "needs a PostgreSQL, which this cloud has not; test_gcloud_sql.py has one",
    "storage.batch.send": "Google has no batches in Go",
    "storage.objects.cancel": "Google's library in Go leaves an upload that is not finished to its expiry",
}
_BEGIN = re.compile(r"^=== (?:RUN|NAME|CONT|PAUSE) +(\w+)", re.MULTILINE)
_END = re.compile(r"^--- (\w+): (\w+)", re.MULTILINE)

pytestmark = pytest.mark.xdist_group("go")  # one run of the program serves all


@dataclass(frozen=True, slots=True)
class GoRun:
    """The outcomes of the tests in Go, their output, and the methods that they called."""

    outcomes: dict[str, str]
    output: str
    coverage: MethodCoverage

    def told_by(self, test: str) -> str:
        """Return the lines of one test."""
        starts = [(found.start(), found[1]) for found in _BEGIN.finditer(self.output)]
        pieces = pairwise([*starts, (len(self.output), "")])
        return "".join(self.output[at:end] for (at, name), (end, _) in pieces if name == test)


def _tests() -> Iterator[str]:
    """Yield the names of the tests in Go."""
    for file in sorted(SOURCES.glob("*_test.go")):
        yield from re.findall(r"^func (Test\w+)\(", file.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def go_run(config: CloudConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoRun]:
    """Run the program once, in a cloud of its own. `make foreign` has compiled it."""
    if not PROGRAM.is_file():
        skip_or_fail("Google's Go clients are not built: run `make foreign`, which needs go")
    pytest_socket.enable_socket()
    with Cloud(config, data=tmp_path_factory.mktemp("go"), project=ROOT) as cloud:
        coverage = MethodCoverage(cloud)
        done = subprocess.run(
            [str(PROGRAM), "-test.v", f"-test.timeout={TIMEOUT}s"],
            env=dict(machine()) | cloud.environ("admin"),
            cwd=SOURCES,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        outcomes = {test: outcome for outcome, test in _END.findall(output)}
        yield GoRun(outcomes, output, coverage)
        pytest_socket.enable_socket()


@pytest.mark.parametrize("name", list(_tests()))
def test_go_clients_get_the_answers_of_google(go_run: GoRun, name: str) -> None:
    assert go_run.outcomes.get(name) == "PASS", go_run.told_by(name) or go_run.output[-5000:]


def test_go_clients_call_every_method(go_run: GoRun) -> None:
    go_run.coverage.check("Go", EXCEPTIONS)
