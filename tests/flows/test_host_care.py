"""Flows of a host's maintenance and of its backups."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests import pages
from tests.checkout import ROOT
from tests.flows.host import Host, Runner, Site, site
from tests.ports import free_port
from tests.waiting import until

pytestmark = [
    pytest.mark.xdist_group("procfile"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]

LIGHT, HEAVY = "meter-readings-schema", "energyplus-design-day"
_PAUSED = "no task is taken"  # in the log of a worker

PAGE = "docs/modes/host.md"
BACKUP = next(block for block in pages.blocks(PAGE) if "manage.py backup" in block)
# The fixture `host` has done this, with the same commands.
PREPARED = (
    "DJANGO_SETTINGS_MODULE=config.settings.build python manage.py collectstatic --no-input\n",
    "python manage.py release\n",
)

type Shell = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def shell(host: Host, tmp_path: Path) -> Shell:
    """Return a function that runs a script as the page's reader does."""
    path = pages.path_of_forks(tmp_path / "bin", others=host.environ["PATH"])
    environ = host.environ | {"BACKUPS": str(tmp_path), "PATH": path}
    return lambda script: pages.run(script, folder=ROOT, environ=environ)


def _launch_beside_the_closed_door(host: Host) -> None:
    """Put a run on the queue during maintenance, when requests cannot."""
    code = (
        "from validibot.runs.models import Run; from validibot.runs.rerun import rerun;"
        " old = Run.objects.latest('created_at');"
        " rerun(old, old.workflow, user=old.user, source=old.source)"
    )
    done = host.manage("shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr


def _rows(host: Host) -> dict[str, list[str]]:
    """Return every row of every table as text, except sessions, which are not in backups."""
    with psycopg.connect(host.database_url) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN"
            " ('django_session', 'core_maintenance', 'core_pendingmail', 'core_cache',"
            " 'core_failurecount', 'core_requestcount')"
        ).fetchall()
        return {
            name: sorted(str(row) for row in connection.execute(f'TABLE "{name}"'.encode()))
            for (name,) in names
        }


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _artifacts(web: Site, run: str) -> dict[str, str]:
    found = [each for step in web.run(run)["steps"] for each in step["artifacts"]]
    return {
        each["name"]: hashlib.sha256(
            web.client.get(each["url"], follow_redirects=True).raise_for_status().content
        ).hexdigest()
        for each in found
    }


def test_deployment_is_restored_from_backup(host: Host, tmp_path: Path) -> None:
    port = free_port()
    with host.start("web", "worker", port=port), site(port) as web:
        before = web.finished(HEAVY, host.sample(HEAVY))
        run = before["id"]
        artifacts = _artifacts(web, run)
    rows, files = _rows(host), _digests(host.files)
    backup = tmp_path / "validibot.tar"

    made = host.manage("backup", str(backup))
    assert made.returncode == 0, made.stderr
    shutil.rmtree(host.files)
    with psycopg.connect(host.database_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    restored = host.manage("restore", str(backup))

    assert restored.returncode == 0, restored.stderr
    assert (_rows(host), _digests(host.files)) == (rows, files)
    with host.start("web", "worker", port=port), site(port) as web:
        assert (web.run(run), _artifacts(web, run)) == (before, artifacts)
        assert artifacts
        assert web.finished(LIGHT, host.sample(LIGHT))["result"] == "PASS"


@pytest.fixture(scope="class")
def runner(host: Host) -> Iterator[Runner]:
    with host.start("web", "worker", port=free_port()) as runner:
        yield runner


@pytest.fixture(scope="class")
def web(runner: Runner) -> Iterator[Site]:
    with site(runner.port) as web:
        yield web


class TestSiteInUse:
    """Tests of web and worker that run meanwhile."""

    def test_maintenance_allows_reads_and_pauses_workers(
        self, host: Host, runner: Runner, web: Site
    ) -> None:
        run = web.finished(LIGHT, host.sample(LIGHT))["id"]
        paused = runner.log.read_text().count(_PAUSED)  # by the tests before
        assert host.manage("maintenance", "on").returncode == 0
        # Each process follows within a second.
        until(lambda: web.client.get("/app/").status_code == 503)
        until(lambda: runner.log.read_text().count(_PAUSED) > paused)
        page = web.client.get("/app/", headers={"Accept": "text/html"})
        refused = web.launch(LIGHT, host.sample(LIGHT))
        door = web.client.post("/internal/callbacks/", json={})

        assert (page.status_code, page.headers["Retry-After"]) == (503, "60")
        assert "Back in a moment" in page.text
        assert (refused.status_code, refused.json()["code"]) == (503, "MAINTENANCE")
        assert web.run(run)["result"] == "PASS"
        assert door.status_code == 403  # open, to those who have the key
        _launch_beside_the_closed_door(host)
        waiting = web.client.get(f"{web.api}/runs/").json()["results"][0]
        assert waiting["state"] == "PENDING"
        assert host.manage("maintenance", "off").stdout == "Maintenance is off.\n"
        assert web.result(waiting["id"]) == "PASS"

    def test_restore_into_used_database_needs_force_and_maintenance(
        self, host: Host, web: Site, shell: Shell
    ) -> None:
        backup, begin, restore, end = BACKUP.strip().splitlines()
        assert shell(backup).returncode == 0
        later = web.finished(LIGHT, host.sample(LIGHT))["id"]
        full = shell(restore.removesuffix(" --replace"))
        open_ = shell(restore)
        shell(begin)
        replaced = shell(restore)
        status = host.manage("maintenance", "status").stdout
        shell(end)
        until(lambda: web.client.get("/app/").status_code != 503)

        assert "--replace" in full.stderr
        assert "manage.py maintenance on" in open_.stderr
        assert (replaced.returncode, "is on: restored from" in status) == (0, True), replaced.stderr
        assert web.client.get(f"{web.api}/runs/{later}/").status_code == 404
        assert web.finished(LIGHT, host.sample(LIGHT))["result"] == "PASS"


def test_damaged_or_foreign_backup_is_refused(host: Host, tmp_path: Path, shell: Shell) -> None:
    whole, inside, between = (tmp_path / f"{name}.tar" for name in ("whole", "inside", "between"))
    assert shell(f"python manage.py backup - >{whole}").returncode == 0
    with tarfile.open(whole) as tar:
        last = tar.getmembers()[-1]
    content = whole.read_bytes()
    inside.write_bytes(content[: last.offset_data + 1])
    between.write_bytes(content[: last.offset])

    cuts = [host.manage("restore", str(path), "--replace").stderr for path in (inside, between)]
    elsewhere = host.manage("restore", str(whole), "--replace", DATA_ROOT="file:///elsewhere")

    assert f"{inside} is not a complete backup: unexpected end of data." in cuts[0]
    assert "The backup has no sums.json: it is incomplete, or not a backup." in cuts[1]
    assert f"Set DATA_ROOT={host.files.as_uri()}" in elsewhere.stderr
    assert "Traceback" not in elsewhere.stderr.join(cuts)


def test_commands_of_docs_page_work(shell: Shell) -> None:
    script = pages.commands(PAGE).replace(BACKUP, "")  # which is executed above
    for command in PREPARED:
        assert command in script
        script = script.replace(command, "")

    done = shell(script)

    assert done.returncode == 0, done.stderr[-3000:]
