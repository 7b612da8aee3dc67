"""`deploy verify` of the product itself, deployed to the emulated cloud."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.cli import layout_of
from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.layout import Layout
from deploy.resources.access import RoleBindings
from deploy.verify import Launches, check_revision, checks, results
from devenv.gcp import Cloud
from devenv.pytest_plugin import become
from tests import database, waiting
from tests.emulator.deploy.conftest import DATABASE, TEXT, deploy

pytestmark = [pytest.mark.xdist_group("deploy"), pytest.mark.timeout(300)]
API_KEY = f"vbk_1_{'0123456789abcdef' * 2}_{'fedcba9876543210' * 4}"
FILES = "bucket/validibot-local-real-files"
FMU = "job/real-validibot-validator-fmu"
STAGE = f"""
{TEXT}
{DATABASE}
[env]
DJANGO_SETTINGS_MODULE = "config.settings.cloud"
WHITENOISE_USE_FINDERS = "1"
DEMO_EMAIL = "demo@validibot.example"
DEMO_PASSWORD = "correct horse battery"
DEMO_API_KEY = "{API_KEY}"
"""


@dataclass(frozen=True)
class Product:
    """The deployed product."""

    stage: str
    layout: Layout
    mailbox: str

    def failures(self, *names: str, seconds: float = 60) -> dict[str, str]:
        """Run the checks with these names, all without names; return what failed."""
        launches = Launches(api_key=API_KEY, org="demo", seconds=seconds)
        wanted = (c for c in checks(self.layout, launches) if not names or c.name in names)
        return {name: message for name, message in results(wanted) if message}

    def bindings(self, name: str) -> RoleBindings:
        found: Any = next(r for r in self.layout.resources() if r.address == f"access/{name}")
        return found  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def product(
    cloud: Cloud, database_server: database.Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    path = tmp_path_factory.mktemp("stage") / "real.toml"
    mail, web = database._free_port(), database._free_port()
    path.write_text(f'{STAGE}EMAIL_PORT = "{mail}"\n')
    url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/postgres".format(**database_server)
    before = cloud.config
    cloud.restart(replace(before, sql_server=url))
    ports = ["--smtp-port", mail, "--http-port", web]
    catcher = subprocess.Popen([sys.executable, "-m", "devenv.mail", *ports])
    try:
        with pytest.MonkeyPatch.context() as patch:
            become(cloud, "deployer", patch)
            patch.setattr("deploy.cli.GoogleCloud", cache(GoogleCloud))
            deploy("apply", str(path), "--only", "apis,database,secret,database-user")
            fill(url)
            deploy("apply", str(path))
            yield Product(str(path), layout_of(str(path)), f"http://127.0.0.1:{web}")
            deploy("destroy", str(path), "--yes", "--with-data")
    finally:
        catcher.terminate()
        catcher.wait()
        cloud.restart(before)


def fill(url: str) -> None:
    """Replace the new database by a migrated one: migrations take longer than all the rest."""
    name, user = (sql.Identifier(f"real-db/{each}") for each in ("validibot", "validibot"))
    owner = sql.Identifier("real-db/cloudsqlsuperuser")
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE {}").format(name))
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        server.execute(made.format(name, sql.Identifier(database.PRISTINE), owner))
        # The tables belong to the user of the template.
        server.execute(sql.SQL("GRANT validibot TO {}").format(user))


def socket_folder(cloud: Cloud, product: Product) -> str:
    """Return where the socket of `web` for its database is on this machine."""
    services: Any = cloud._server._services
    account = product.layout.names.account("web")
    return str(services._sql.sockets.open(account, "validibot-local:us-west1:real-db"))


def refused_calls(cloud: Cloud, account: str, *, since: float) -> list[str]:
    """Return the methods that IAM refused to an account after a time in Unix seconds."""
    answer = httpx.get(
        f"{cloud.plain_url}/_devenv/journal",
        params={"decision": "denied", "caller": f"{account}@*"},
        headers={"Authorization": f"Bearer {cloud.control_token}"},
        trust_env=False,
    )
    return [row["method"] for row in answer.json()["calls"] if row["at"] >= since]


def test_deployed_product_passes_every_check(product: Product) -> None:
    """One workflow of Django, and one of each validator."""
    slugs = [
        *("meter-settings", "fmu-decay", "energyplus-design-day"),
        *("invoice-schematron", "equipment-graph"),
    ]
    wanted = [word for slug in slugs for word in ("--workflow", slug)]
    wanted += ["--mailbox", product.mailbox]
    told = deploy("verify", product.stage, "--api-key", API_KEY, *wanted).splitlines()

    assert [line for line in told if line.startswith("FAILED")] == []
    assert [line.split()[2] for line in told if line.startswith("ok      workflow ")] == slugs
    assert "ok      large submission" in told
    assert told[-1] == "ok      sign-up by mail"
    with pytest.raises(DeployError, match="the unknown workflow 'decay'; known are energyplus-"):
        deploy("verify", product.stage, "--api-key", API_KEY, "--workflow", "decay")


@pytest.mark.parametrize(
    ("target", "role", "member", "check"),
    [
        ("service/real-web", "roles/run.invoker", "allUsers", "web is healthy"),
        ("service/real-worker", "roles/run.invoker", "real-tasks", "worker answers tasks"),
        ("service/real-worker", "roles/run.invoker", "real-scheduler", "worker answers scheduler"),
        (
            *("service/real-worker", "roles/run.invoker", "real-validator-fmu"),
            "worker answers validator-fmu",
        ),
        ("queue/real-runs", "roles/cloudtasks.enqueuer", "real-web", "workflow meter-settings"),
        (
            "account/real-tasks",
            "roles/iam.serviceAccountUser",
            "real-web",
            "workflow meter-settings",
        ),
        (FILES, "roles/storage.objectUser", "real-web", "large submission"),
        (FILES, "roles/storage.objectUser", "real-worker", "workflow fmu-decay"),
        (FILES, "roles/storage.objectViewer", "real-capability", "workflow fmu-decay"),
        (FILES, "roles/storage.objectCreator", "real-capability", "workflow fmu-decay"),
        (FMU, "roles/run.jobsExecutorWithOverrides", "real-worker", "workflow fmu-decay"),
    ],
)
def test_check_fails_without_role(
    product: Product, cloud: Cloud, target: str, role: str, member: str, check: str
) -> None:
    """The role is necessary: `plan` shows that it is missing, and a named check fails.

    Without some roles a run waits for ever, with retries. So a run has one second, and the call that
    IAM refused is awaited, which shows that the run did not end for that reason.
    """
    begun = time.time()
    bindings = product.bindings(target)
    fewer = {r: [m for m in ms if (r, m) != (role, member)] for r, ms in bindings.roles.items()}
    replace(bindings, roles=fewer).update({})
    try:
        planned = deploy("plan", product.stage)
        failed = product.failures(check, seconds=1)
        if check.startswith("workflow"):
            waiting.until(lambda: refused_calls(cloud, member, since=begun))
    finally:
        bindings.update({})

    assert f"access/{target}\n" in planned
    assert list(failed) == [check]


def test_account_without_role_cannot_connect_to_database(product: Product, cloud: Cloud) -> None:
    """The socket of an account asks IAM for each connection."""
    secret = product.layout.data.secret("DATABASE_URL")
    role = next(r for r in product.layout.resources() if r.address == "project-role/real-database")
    password = urlsplit(secret.value()).password
    login = make_conninfo(
        host=socket_folder(cloud, product), user="validibot", password=password, dbname="validibot"
    )
    with psycopg.connect(login) as connected:
        row = connected.execute("SELECT current_user, count(*) FROM django_migrations").fetchone()
    role.delete()
    try:
        with pytest.raises(psycopg.OperationalError, match=r"lacks cloudsql\.instances\.connect"):
            psycopg.connect(login)
        planned = deploy("plan", product.stage)
    finally:
        role.create()

    assert row is not None
    assert row[0] == "real-db/validibot"
    assert row[1] > 50
    assert "+ project-role/real-database\n" in planned


def test_unreachable_revision_is_refused_by_name(product: Product) -> None:
    with pytest.raises(DeployError, match="web is healthy"):
        check_revision("web", product.layout.cloud.service_url("nobody"))
