"""The emulated cloud of a test process, and Google's clients as this process constructs them.

There is one in a process, whoever asks: gRPC reads the CA bundle once in its life.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import pytest_socket

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig, IamBinding, ImageConfig, JobConfig
from devenv.pytest_plugin import ActAs, become
from tests.declared import cloud as declared_cloud
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
_CLOUD = pytest.StashKey[Cloud]()


@pytest.fixture(scope="session")
def config() -> CloudConfig:
    return _config()


@cache
def _config() -> CloudConfig:
    """Return devenv.toml's project with an `admin`, a `guest` without rights and a job that sleeps.

    Nothing is warm.

    Its services have ports that nobody else has, so that a running devenv is left alone.
    """
    declared = declared_cloud()
    cold = tuple(replace(image, warm=()) for image in declared.images)
    admin = tuple(IamBinding("admin", role) for role in _ADMIN_ROLES)
    others = (
        IamBinding("log-writer", "roles/logging.logWriter"),
        IamBinding("log-viewer", "roles/logging.viewer"),
        # May do what the worker may, but start jobs.
        IamBinding("launcher", "roles/storage.objectUser", "bucket/validibot-local"),
        IamBinding("launcher", "roles/iam.serviceAccountTokenCreator", "account/capability"),
    )
    own = f"projects/{declared.project}/roles/budgets"
    deployer = tuple(IamBinding("deployer", role) for role in (*DEPLOYER_ROLES, own))
    sleeper = ImageConfig("sleeper:1", ("{python}", "-c", "import time; time.sleep(600)"))
    server = ImageConfig("echo-server:1", ("{python}", "-m", "tests.emulator.echo_server"))
    return replace(
        declared,
        accounts=(*declared.accounts, *_ACCOUNTS),
        bindings=(*declared.bindings, *admin, *others, *deployer, *_AT_MODAL),
        images=(*cold, sleeper, server, *_images_of_stages()),
        jobs=(*declared.jobs, JobConfig("sleeper", sleeper.name, "validator-fmu", max_retries=0)),
        schedules=(),
        roles={**declared.roles, "budgets": _BUDGET_PERMISSIONS},
        domains=("example.com",),
        sql_server="",  # the tests of Cloud SQL give it one
        services=tuple(replace(service, port=free_port()) for service in declared.services),
    )


_ACCOUNTS = [
    "admin",
    "deployer",
    "guest",
    "launcher",
    "log-viewer",
    "log-writer",
    "stranger",
    "validator-modal",
]
_ADMIN_ROLES = (
    "roles/cloudtasks.admin",
    "roles/cloudscheduler.admin",
    "roles/iam.serviceAccountUser",
    "roles/iam.serviceAccountTokenCreator",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/run.admin",
    "roles/storage.admin",
    "roles/storage.hmacKeyAdmin",
    "roles/secretmanager.admin",
    "roles/cloudsql.admin",
    "roles/pubsub.admin",
    "roles/logging.admin",
    "roles/telemetry.writer",
    "roles/monitoring.viewer",
    "roles/cloudtrace.user",
    "roles/iam.serviceAccountAdmin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/iam.roleAdmin",
    "roles/iam.workloadIdentityPoolAdmin",
    "roles/artifactregistry.admin",
    "roles/compute.networkAdmin",
    "roles/compute.securityAdmin",
    "roles/serviceusage.serviceUsageAdmin",
)
# Those of the role for `[budget]`, which docs/production.md makes.
_BUDGET_PERMISSIONS = (
    *("billing.resourcebudgets.read", "billing.resourcebudgets.write"),
    "resourcemanager.projects.get",
)
# The roles that the table `[modal]` of a stage gives.
_AT_MODAL = (
    IamBinding("validator-modal", "roles/run.invoker", "service/validibot-worker"),
    IamBinding("worker", "roles/iam.serviceAccountOpenIdTokenCreator", "account/validator-modal"),
)
# The roles that docs/production.md names, and no others.
DEPLOYER_ROLES = (
    "roles/artifactregistry.admin",
    "roles/cloudscheduler.admin",
    "roles/cloudsql.admin",
    "roles/cloudtasks.admin",
    "roles/compute.networkAdmin",
    "roles/iam.roleAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountOpenIdTokenCreator",
    "roles/iam.serviceAccountUser",
    "roles/logging.configWriter",
    "roles/monitoring.editor",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/secretmanager.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
)
# The stages that tests of the deployment make, each by one test; the last one is the product itself.
STAGES = ("empty", "killed", "piped", "rolled", "shared", "real")


def _images_of_stages() -> Iterator[ImageConfig]:
    """Yield the images of the stages' repositories: two good versions and one that does not start."""
    *_, real = STAGES
    for stage in STAGES:
        module = (
            "tests.emulator.product_image" if stage == real else "tests.emulator.product_server"
        )
        product = ("{python}", "-m", module)
        repository = f"us-west1-docker.pkg.dev/validibot-local/{stage}-images"
        yield ImageConfig(f"{repository}/validibot:1", product)
        yield ImageConfig(f"{repository}/validibot:2", product)
        yield ImageConfig(f"{repository}/validibot:broken", (*product, "broken"))
    repository = f"us-west1-docker.pkg.dev/validibot-local/{real}-images"
    for image in declared_cloud().images:
        name = image.name.rpartition("/")[2]
        if name.startswith("validator-"):
            yield replace(image, name=f"{repository}/{name}", warm=())


@pytest.fixture(scope="session")
def cloud(
    request: pytest.FixtureRequest,
    config: CloudConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cloud:
    stash = request.config.stash
    if _CLOUD not in stash:
        pytest_socket.enable_socket()
        cloud = Cloud(config, data=tmp_path_factory.mktemp("gcp"), project=ROOT)
        stash[_CLOUD] = cloud.__enter__()
        request.config.add_cleanup(lambda: _leave(cloud))
    return stash[_CLOUD]


def _leave(cloud: Cloud) -> None:
    pytest_socket.enable_socket()  # the last test may have shut them again
    cloud.__exit__(None, None, None)


@pytest.fixture
def act_as(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> ActAs:
    """Make Google's clients that are constructed from now on be a service account."""
    return lambda account: become(cloud, account, monkeypatch)
