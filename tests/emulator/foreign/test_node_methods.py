"""Every method of the emulated cloud by Google's Node clients: a file of programs for each service."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import pytest_socket

from devenv.gcp import Cloud
from devenv.gcp.cloud import OPEN_PROJECT
from devenv.gcp.config import ImageConfig
from tests.cloud import ROOT
from tests.emulator.foreign.conftest import NODE, ask_node, require_node
from tests.emulator.foreign.coverage import MethodCoverage

# One process runs the programs of all services at once; the tests share its answers.
pytestmark = pytest.mark.xdist_group("node-methods")

SERVICES = sorted(file.stem for file in (NODE / "services").glob("*.mjs"))
EXCEPTIONS = {
    "logging.ConfigServiceV2.UpdateSettings": "settings of a project cannot be changed",
    "longrunning.Operations.WaitOperation": "Node's clients ask for an operation again and again",
    "resourcemanager.Projects.ListProjects": "the one project has no parent to list it by",
    "sql.SqlInstancesService.Export": "there is no PostgreSQL here",
    "sql.SqlInstancesService.Import": "there is no PostgreSQL here",
    "storage.batch.send": "Node's client sends no batches",
    "storage.objects.cancel": "Node's client leaves uploads that it does not end",
}
_LINE = '{"severity": "ERROR", "message": "broken", "step": 3}'
_CHECK = (
    "import os; told = os.environ['TOLD'], open(os.environ['FILE']).read()\n"
    "raise SystemExit(told != ('value', 'value'))"
)
CONFIG = replace(
    OPEN_PROJECT,
    accounts=("app", "guest"),
    images=(
        ImageConfig("echo-server:1", ("{python}", "-m", "tests.emulator.echo_server")),
        ImageConfig("sleeper:1", ("{python}", "-c", "import time; time.sleep(600)")),
        ImageConfig("json:1", ("{python}", "-c", f"print({_LINE!r})")),
        ImageConfig("env:1", ("{python}", "-c", _CHECK)),
        ImageConfig("done:1", ("{python}", "-c", "print('done')")),
    ),
    domains=("example.com",),
)


@dataclass
class CheckedServices:
    """The failures by service and program, and the methods that were called."""

    failures: dict[str, dict[str, str]]
    coverage: MethodCoverage


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckedServices]:
    require_node()
    pytest_socket.enable_socket()
    with Cloud(CONFIG, data=tmp_path_factory.mktemp("node"), project=ROOT) as cloud:
        coverage = MethodCoverage(cloud)
        yield CheckedServices(ask_node(cloud, "app", "check", *SERVICES), coverage)
        pytest_socket.enable_socket()


@pytest.mark.parametrize("service", SERVICES)
def test_node_clients_of_a_service(checked: CheckedServices, service: str) -> None:
    failures = checked.failures[service]

    assert not failures, "\n\n".join(f"{name}: {text}" for name, text in failures.items())


def test_node_clients_call_every_method(checked: CheckedServices) -> None:
    checked.coverage.check("Node", EXCEPTIONS)
