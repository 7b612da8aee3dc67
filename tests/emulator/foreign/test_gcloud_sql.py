"""gcloud for backups, restores, clones, exports and imports of Cloud SQL, with a real PostgreSQL."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from google.cloud.sqladmin_v1 import (
    SqlInstancesServiceClient,
    SqlOperationsServiceClient,
    SqlUsersServiceClient,
)

from devenv.gcp import Cloud
from devenv.pytest_plugin import become
from tests import database
from tests.emulator.foreign.conftest import Gcloud
from tests.waiting import until

ROOT = Path(__file__).parents[3]
PROJECT = "validibot-local"
CSV = "SELECT name FROM items ORDER BY name"
TABLE = "CREATE TABLE items (name text); INSERT INTO items VALUES ('one'), ('two')"
GRANT = 'GRANT SELECT ON items TO "{0}/bob"; CREATE SCHEMA own AUTHORIZATION "{0}/bob"'
OWNERS = (
    "SELECT 'table ' || tableowner FROM pg_tables WHERE tablename = 'items' UNION "
    "SELECT 'schema ' || pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'own' UNION "
    "SELECT 'grant ' || pg_get_userbyid((aclexplode(relacl)).grantee) FROM pg_class "
    "WHERE relname = 'items' ORDER BY 1"
)


class Databases:
    """Instances of the emulated Cloud SQL, by gcloud, and the server that has their databases."""

    def __init__(self, gcloud: Gcloud, url: str) -> None:
        self._gcloud = gcloud
        self._url = url
        self.name = f"db-{os.urandom(3).hex()}"

    def begin(self, *words: str) -> None:
        """Run a command, and wait for its operation; gcloud would look at it every few seconds."""
        self._gcloud("sql", *words, "--async", "--quiet")
        self.wait()

    def wait(self) -> None:
        """Wait for the last operation, which must have no error."""
        with SqlOperationsServiceClient() as client:
            request = {"project": PROJECT}

            def is_idle() -> bool:
                found = client.list(request=request).items
                return all(each.status.name == "DONE" for each in found)

            until(is_idle)
            newest = client.list(request=request).items[0]
        assert not newest.error.errors, newest.error.errors

    def make(self, name: str) -> None:
        settings = {"tier": "db-custom-1-3840", "edition": "ENTERPRISE"}
        body = {"name": name, "database_version": "POSTGRES_17", "settings": settings}
        with SqlInstancesServiceClient() as client:
            client.insert(request={"project": PROJECT, "body": body})
        self.wait()

    def rows(self, name: str, statement: str) -> list[str]:
        """Execute SQL in a database of the server, and return the first column."""
        with psycopg.connect(f"{self._url}{quote(name, '')}", autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def items(self, instance: str, database: str = "app") -> list[str]:
        return self.rows(f"{instance}/{database}", CSV)


def runbook(command: str, **names: str) -> list[str]:
    """Return the words behind `gcloud sql` of a line of the runbooks, with names in place of its own."""
    page = (ROOT / "docs/runbooks.md").read_text()
    [line] = re.findall(rf"`gcloud sql ({command} [^`]+)`", page)
    pattern = "|".join(rf"\b{name}\b" for name in names)
    return re.sub(pattern, lambda name: names[name[0]], line).split()


@pytest.fixture
def databases(
    cloud: Cloud,
    gcloud: Gcloud,
    database_server: database.Address,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Databases]:
    """Give the emulated Cloud SQL a PostgreSQL, with a table in an instance."""
    url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/".format(**database_server)
    before = cloud.config
    cloud.restart(replace(before, sql_server=f"{url}postgres"))
    become(cloud, "admin", monkeypatch)
    made = Databases(gcloud, url)
    made.make(made.name)
    made.begin("databases", "create", "app", f"--instance={made.name}")
    for user in ("ann", "bob"):
        body = {"name": user, "password": "secret"}
        with SqlUsersServiceClient() as client:
            client.insert(request={"project": PROJECT, "instance": made.name, "body": body})
        made.wait()
    made.rows(f"{made.name}/app", f'SET ROLE "{made.name}/ann"; {TABLE}')
    made.rows(f"{made.name}/app", GRANT.format(made.name))
    yield made
    made.begin("instances", "delete", made.name)
    assert not made.rows("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'db-%'")
    cloud.restart(before)


def test_gcloud_backs_up_restores_and_clones(gcloud: Gcloud, databases: Databases) -> None:
    name = databases.name
    new, copy = f"{name}-new", f"{name}-copy"
    tier = {"TIER": "db-custom-1-3840", "REGION": "us-west1"}
    databases.begin(*runbook("instances create", NEW=new, **tier))
    of = f"--instance={name}"
    databases.begin("backups", "create", of, "--description=first")
    listing = runbook("backups list", INSTANCE=name)
    run = gcloud("sql", *listing, "--format=value(id)").strip()
    shown = gcloud("sql", "backups", "describe", run, of, "--format=value(status,description)")
    databases.rows(f"{name}/app", "DELETE FROM items")
    for instance in (name, new):
        databases.begin(*runbook("backups restore", BACKUP=run, INSTANCE=name, NEW=instance))
    databases.begin(
        *runbook("instances clone", INSTANCE=name, NEW=copy)[:4]
    )  # now, not in the past
    hashes = "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'db-%/ann'"

    assert shown.split() == ["SUCCESSFUL", "first"]
    assert [databases.items(each) for each in (name, new, copy)] == [["one", "two"]] * 3
    for each in (name, new, copy):
        found = databases.rows(f"{each}/app", OWNERS)
        wanted = ("grant", "ann"), ("grant", "bob"), ("schema", "bob"), ("table", "ann")
        assert found == [f"{what} {each}/{user}" for what, user in wanted]
    found = databases.rows("postgres", hashes)
    assert (len(found), len(set(found))) == (3, 1)

    databases.begin("backups", "delete", run, of)
    assert gcloud("sql", "backups", "list", of, "--format=value(id)") == ""
    for instance in (new, copy):
        databases.begin("instances", "delete", instance)


def test_gcloud_exports_to_a_bucket_and_imports(
    gcloud: Gcloud, cloud: Cloud, databases: Databases, tmp_path: Path
) -> None:
    name, bucket = databases.name, f"gs://{cloud.config.buckets[0]}"
    email = gcloud(
        *("sql", "instances", "describe", name, "--format=value(serviceAccountEmailAddress)")
    ).strip()
    sql, csv = f"{bucket}/{name}.sql.gz", f"{bucket}/{name}.csv"
    with pytest.raises(AssertionError, match=r"storage\.objects\.create"):
        databases.begin("export", "sql", name, sql, "--database=app")
    grant = ("storage", "buckets", "add-iam-policy-binding", bucket)
    role = ("--role=roles/storage.objectAdmin", "--condition=None")  # other bindings may have one
    gcloud(*grant, f"--member=serviceAccount:{email}", *role)
    databases.begin("export", "sql", name, sql, "--database=app")
    databases.begin("export", "csv", name, csv, "--database=app", f"--query={CSV}")
    databases.begin("databases", "create", "again", f"--instance={name}")
    databases.begin("import", "sql", name, sql, "--database=again")
    databases.begin("import", "csv", name, csv, "--table=items", "--database=again")

    assert gcloud("storage", "cat", csv) == "one\ntwo\n"
    assert databases.items(name, "again") == ["one", "one", "two", "two"]
    (tmp_path / "bad.sql").write_text("SELECT 1;\n\\! touch stolen\n")
    gcloud("storage", "cp", str(tmp_path / "bad.sql"), f"{bucket}/bad.sql")
    with pytest.raises(AssertionError, match="restricted"):
        databases.begin("import", "sql", name, f"{bucket}/bad.sql", "--database=again")
