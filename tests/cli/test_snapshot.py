"""Flows of snapshots: the data of a whole stack, while it runs and while it does not."""

import json
import smtplib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.cli.project import CliProject, make

pytestmark = pytest.mark.xdist_group("devenv")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[CliProject]:
    project = make(tmp_path / "project")
    yield project
    project.devenv("down")


def change(project: CliProject, number: int) -> None:
    """Put a row into the database, and send a mail."""
    urls = project.status()["urls"]
    with psycopg.connect(urls["postgres"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])
    with smtplib.SMTP("127.0.0.1", int(urls["smtp"].rpartition(":")[2])) as smtp:
        smtp.sendmail("a@b.c", ["x@y.z"], f"Subject: {number}\n\nYou")


def seen(project: CliProject) -> tuple[list[int], list[str]]:
    """Return the rows and the subjects of the mails."""
    urls = project.status()["urls"]
    with psycopg.connect(urls["postgres"]) as connection:
        rows = [number for (number,) in connection.execute("SELECT number FROM kept ORDER BY 1")]
    mails = httpx.get(f"{urls['mail']}/api/v1/messages").json()["messages"]
    return rows, sorted(mail["Subject"] for mail in mails)


def test_snapshots_are_loaded_into_running_and_new_stacks(project: CliProject) -> None:
    assert project.devenv("up", "--detach").returncode == 0
    change(project, 1)
    supervisor = json.loads((project.root / ".devenv" / "state.json").read_text())["pid"]

    saved = project.devenv("snapshot", "save", "monday")
    again = project.devenv("snapshot", "save", "monday")
    assert "Next: devenv snapshot save --replace monday" in again.stderr
    change(project, 2)
    loaded = project.devenv("snapshot", "load", "monday")
    after = seen(project)
    project.devenv("snapshot", "load", "before-load")
    undone = seen(project)

    assert saved.stderr.startswith("  ✓ Saved monday ("), saved.stderr
    assert "devenv snapshot load before-load takes it back." in loaded.stderr
    assert (after, undone) == (([1], ["1"]), ([1, 2], ["1", "2"]))
    assert {one["state"] for one in project.status()["services"].values()} == {"healthy", "done"}
    state = json.loads((project.root / ".devenv" / "state.json").read_text())
    assert (state["pid"], state["phase"]) == (supervisor, "ready")

    key = project.status()["api_key"]
    project.devenv("down")
    assert project.devenv("snapshot", "save", "clean").returncode == 0
    reset = project.devenv("reset", "--yes")
    project.devenv("up", "--detach")
    fresh = project.status()["api_key"]
    unsure = project.devenv("reset", "--to", "clean")
    back = project.devenv("reset", "--yes", "--to", "clean")

    assert "Snapshots stay: before-load, clean, monday." in reset.stderr
    assert "Next: devenv reset --to clean --yes" in unsure.stderr
    assert fresh != key
    assert back.returncode == 0, back.stderr
    assert (project.status()["api_key"], seen(project)) == (key, ([1, 2], ["1", "2"]))


def test_snapshot_of_newer_migrations_is_refused(project: CliProject) -> None:
    migration = project.root / "validibot" / "shop" / "migrations" / "0002_price.py"
    migration.parent.mkdir(parents=True)
    migration.touch()
    (project.root / ".devenv").mkdir()
    (project.root / ".devenv" / "secrets.env").write_text("A=1\n")
    assert project.devenv("snapshot", "save", "newer").returncode == 0
    migration.unlink()

    done = project.devenv("snapshot", "load", "newer")
    listed = project.devenv("snapshot", "list", "--json")

    assert done.returncode == 1
    assert (
        "newer has newer migrations than this code: validibot/shop/migrations/0002_price.py."
        in done.stderr
    )
    assert [one["name"] for one in json.loads(listed.stdout)] == ["newer"]
