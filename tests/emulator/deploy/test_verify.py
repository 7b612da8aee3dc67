"""`deploy verify` of the product itself, deployed to the emulated cloud."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import requests
from psycopg import sql

from deploy.cli import layout_of
from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.layout import Layout
from deploy.resource import Resource
from deploy.resources.access import RoleBindings
from deploy.resources.project_role import ConditionalRole
from deploy.verify import Launches, check_revision, checks, results, workflows_without_model
from devenv.gcp import Cloud
from devenv.pytest_plugin import become
from devenv.services.builtin import postgres_binaries
from tests import database, forked
from tests.emulator.deploy.conftest import DATABASE, TEXT, deploy
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("deploy")
API_KEY = f"vbk_1_{'0123456789abcdef' * 2}_{'fedcba9876543210' * 4}"
OLD = "old_installation"
LAUNCHED = [
    *("meter-settings", "energyplus-design-day", "fmu-decay", "invoice-schematron"),
    "equipment-graph",
]
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
    server: database.Address

    @property
    def api(self) -> str:
        return f"{self.layout.names.web_url}/api/v1/orgs/demo"

    def runs(self) -> dict[str, tuple[str, bytes]]:
        """Return result and submission of each run, as the API gives them."""
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {API_KEY}"
            found = session.get(f"{self.api}/runs/", timeout=60).json()["results"]
            return {
                run["id"]: (
                    run["result"],
                    session.get(f"{self.api}/runs/{run['id']}/files/0/", timeout=60).content,
                )
                for run in found
            }

    def url_of(self, name: str) -> str:
        """Return the address of a database of the server, as its superuser."""
        return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/".format(**self.server) + quote(name, "")

    def copy_database(self, name: str, *, files: str, moved_to: str) -> None:
        """Copy the stage's database to one whose submissions are elsewhere, under maintenance."""
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        dump, psql = (str(postgres_binaries() / program) for program in ("pg_dump", "psql"))
        script = subprocess.run(
            [dump, "--no-owner", "--no-privileges", self.url_of("real-db/validibot")],
            check=True,
            capture_output=True,
        ).stdout
        subprocess.run(
            [psql, "-q", self.url_of(name)], input=script, check=True, capture_output=True
        )
        with psycopg.connect(self.url_of(name)) as old:
            old.execute(
                "UPDATE submissions_submission SET uri = replace(uri, %s, %s)", [files, moved_to]
            )
            old.execute("INSERT INTO core_maintenance (id, since, note) VALUES (1, now(), 'moved')")

    def move(self, *arguments: str, database: str, source: str = "") -> str:
        """Run `manage.py move` with the variables of a host; return its output."""
        inherited = dict(os.environ)  # noqa: TID251 - Google's clients find the emulated cloud there
        environ = inherited | {
            "ALLOWED_HOSTS": "old.example",
            "API_KEY_PEPPER": self.layout.data.secret("API_KEY_PEPPER").value(),
            "DATABASE_URL": self.url_of(database),
            "DATA_ROOT": f"gs://{self.layout.data.files.name}",
            "DEFAULT_FROM_EMAIL": "old@validibot.example",
            "DJANGO_SECRET_KEY": self.layout.data.secret("DJANGO_SECRET_KEY").value(),
            "DJANGO_SETTINGS_MODULE": "config.settings.host",
            "EMAIL_HOST": "localhost",
            "PATH": f"{postgres_binaries()}:{inherited['PATH']}",
            "SITE_URL": "https://old.example",
        }
        done = forked.python(
            "manage.py", "move", *arguments, environ=environ, text=self.url_of(source)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def failures(self, *names: str) -> dict[str, str]:
        """Run the checks with these names; return what failed."""
        launches = Launches(api_key=API_KEY, org="demo", seconds=300, only=["meter-settings"])
        wanted = (check for check in checks(self.layout, launches) if check.name in names)
        return {name: message for name, message in results(wanted) if message}


@pytest.fixture(scope="module")
def product(
    cloud: Cloud, database_server: database.Address, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    path = tmp_path_factory.mktemp("stage") / "real.toml"
    mail, web = str(free_port()), str(free_port())
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
            yield Product(
                str(path), layout_of(str(path)), f"http://127.0.0.1:{web}", database_server
            )
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


def test_deployed_product_passes_every_check(product: Product) -> None:
    """One workflow of Django and one of each validator's own job are launched."""
    asked = ["--api-key", API_KEY, "--mailbox", product.mailbox]
    asked += [word for slug in LAUNCHED for word in ("--workflow", slug)]
    told = deploy("verify", product.stage, *asked).splitlines()
    launched = [line.split()[2] for line in told if line.startswith("ok      workflow ")]

    assert [line for line in told if line.startswith("FAILED")] == []
    assert launched == LAUNCHED
    assert "ok      large submission" in told
    assert "ok      sign-up by mail" in told
    assert workflows_without_model(product.layout, "demo") == (
        ["report-review"],
        "neither the site nor demo has a language model",
    )
    with pytest.raises(DeployError, match="the unknown workflow 'decay'; known are energyplus-"):
        deploy("verify", product.stage, "--api-key", API_KEY, "--workflow", "decay")


def test_each_role_is_needed_by_a_check(product: Product) -> None:
    """Remove each role of each account in turn: a named part of `verify` fails, and names what lacks it."""
    cases = [*roles_on_resources(product.layout), *roles_in_project(product.layout)]
    unnamed = []
    for resource, fewer, role, member in cases:
        check, item = part_of_verify(resource.name, role, member)
        fewer.update({})
        try:
            message = product.failures(check).get(check, "")
        finally:
            resource.update({})
        if item not in message:
            unnamed.append((resource.address, role, member, message))

    assert unnamed == []
    assert len(cases) > 35
    assert product.failures("web has its access", "worker has its access") == {}


type RoleCase = tuple[Resource, Resource, str, str]
"""A resource, the same without one member of a role, the role and the member."""


def roles_on_resources(layout: Layout) -> Iterator[RoleCase]:
    for each in layout.resources():
        if not isinstance(each, RoleBindings):
            continue
        for role, member in [(r, m) for r, members in each.roles.items() for m in members]:
            fewer = {r: [m for m in ms if (r, m) != (role, member)] for r, ms in each.roles.items()}
            yield each, replace(each, roles=fewer), role, member


def roles_in_project(layout: Layout) -> Iterator[RoleCase]:
    for each in layout.resources():
        if isinstance(each, ConditionalRole):
            for member in each.accounts:
                others = [other for other in each.accounts if other != member]
                yield each, replace(each, accounts=others), each.role, member


def part_of_verify(name: str, role: str, member: str) -> tuple[str, str]:
    """Return the check that fails without a role, and what its message begins with."""
    kind, _, resource = name.rpartition("/")
    account, short = member.removeprefix("real-"), resource.removeprefix("real-")
    if kind == "service":
        check = "web is healthy" if member == "allUsers" else f"worker answers {account}"
        return check, "https://"
    items = {
        "account": "queue default: " if short == "tasks" else "capability account: ",
        "bucket": "files: ",
        "job": f"job {short}: ",
        "queue": f"queue {short.replace('runs', 'default')}: ",
        "secret": f"secret {resource}: ",
        "": "database: ",
    }
    if resource.endswith("-media"):
        return "worker has its access", "media: "
    if account == "capability":
        return "worker has its access", "capability: "
    return f"{account} has its access", items[kind]


def test_rehearsed_move_brings_database_files_and_addresses(
    product: Product, tmp_path: Path
) -> None:
    """The old installation is a copy of the stage on a host, whose files are in a folder."""
    assert product.failures("large submission") == {}
    before = product.runs()
    bucket = product.layout.cloud.buckets.bucket(product.layout.data.files.name)
    blobs = list(bucket.list_blobs(prefix="submissions/"))
    for blob in blobs:
        path = tmp_path / "files" / blob.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob.download_as_bytes())
    product.copy_database(OLD, files=f"gs://{bucket.name}", moved_to="file:///srv/old")
    bucket.delete_blobs(blobs)
    journal = str(tmp_path / "journal")

    drained = product.move("drain", database=OLD)
    told = product.move(
        *("rehearse", str(tmp_path / "files"), "file:///srv/old", "--replace"),
        *("--journal", journal),
        database="real-db/validibot",
        source=OLD,
    )
    with psycopg.connect(product.url_of("real-db/validibot")) as server:
        server.execute("DELETE FROM core_maintenance")

    assert "Nothing is in progress." in drained
    assert f"Copied: {len(blobs)} of {len(blobs)} files" in told
    assert re.search(r"Addresses changed: [1-9][0-9]*; files missing: 0", told)
    assert re.search(r"Rehearsed: database \d+ s, media \d+ s, addresses \d+ s", told)
    assert product.runs() == before


def test_unreachable_revision_is_refused_by_name(product: Product) -> None:
    with pytest.raises(DeployError, match="web is healthy"):
        check_revision("web", product.layout.cloud.service_url("nobody"))
