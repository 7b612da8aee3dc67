"""Fixtures and options of all tests."""

import gc
import inspect
import logging
import os
from collections.abc import Iterator

import httpx
import pytest
from django.db import connection, connections
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

from devenv.environment import machine
from tests import database
from tests.flows.host import host  # noqa: F401 - a fixture, of tests/docker, too
from tests.guardian import Guarded
from tests.waiting import LIMIT

CLOUD_THREAD = "gcp"

gc.disable()  # while tests are collected: hardly any of what they import becomes garbage

# Without a word about it, httpx waits for 5 s, which is too short for servers on a busy machine.
_httpx_timeout = inspect.signature(httpx.Client).parameters["timeout"].default
for _name in ("connect", "read", "write", "pool"):
    setattr(_httpx_timeout, _name, LIMIT)

# How long an example takes says more about the machine than about the code.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=machine().get("CI") == "true",  # a commit is accepted or refused, not by chance
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cloud",
        choices=("embedded", "containers", "both"),
        default="both",
        help="what the flows run on: processes of this machine, containers, or (default) all on "
        "processes and those about storage, mail and images in containers, too",
    )
    parser.addoption(
        "--screenshots",
        action="store_true",
        help="save pictures of the pages that the browser tests check (test-artifacts/screenshots)",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep groups together: with pytest 9.2, pytest-xdist 3.8 forgets to (its issue 1386)."""
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark and not item.nodeid.endswith(suffix := f"@{mark.args[0]}"):
            item._id = item.id.parse(item.nodeid + suffix)


def pytest_collection_finish() -> None:
    """Let the collector of garbage look at what tests make, not at all that was loaded before them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Have what this run starts ended with it, even if it is killed."""
    if database.shared_server():  # a mutation run logs to the streams of its first, closed session
        logging.getLogger("mutmut").propagate = False
    elif not hasattr(config, "workerinput"):
        config.pluginmanager.register(Guarded())


@pytest.hookimpl(optionalhook=True)  # for runs with `-p no:xdist`
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers: one more than processors, because tests wait for containers.

    Tests that are named one by one run in this process: workers would take longer to start.
    """
    if config.args and all("::" in arg for arg in config.args):
        return 0
    return (os.process_cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def database_server(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[database.Address]:
    """The address of a migrated database of this test process alone."""
    if shared := database.shared_server():
        with database.copied(shared) as address:
            yield address
        return

    def migrate(address: database.Address) -> None:
        with django_db_blocker.unblock():
            database.create(address)

    with database.migrated(request.config.cache.mkdir("postgres"), migrate) as address:
        yield {**address, "NAME": database.NAME}


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    database_server: database.Address,
) -> Iterator[None]:
    """Point Django at that database, which is ready; pytest-django would migrate one."""
    connection.settings_dict.update(database_server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: database.empty())
        yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture
def caplog(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[pytest.LogCaptureFixture]:
    """The log of the test, without what the emulated cloud of earlier tests of this process tells."""

    def is_heard(record: logging.LogRecord) -> bool:
        return "cloud" in request.fixturenames or record.threadName != CLOUD_THREAD

    caplog.handler.addFilter(is_heard)
    yield caplog
    caplog.handler.removeFilter(is_heard)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines (`pytest.mark.anyio`) run on asyncio."""
    return "asyncio"
