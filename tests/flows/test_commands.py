"""The everyday commands on the emulated mode; those of their page are executed."""

import sys
from pathlib import Path

import pytest

from tests import pages
from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(240)]
_WHO = """
import urllib.request
request = urllib.request.Request(
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/email",
    headers={"Metadata-Flavor": "Google"},
)
import os
host = os.environ["GCE_METADATA_HOST"]
request.full_url = request.full_url.replace("metadata.google.internal", host)
print(urllib.request.urlopen(request).read().decode())
"""

_OBJECTS = """
import sys
from google.cloud import storage
for name in sys.argv[1:]:
    storage.Client().bucket("validibot-local").blob(name).upload_from_string("text")
for blob in storage.Client().list_blobs("validibot-local"):
    print(blob.name)
"""


def test_run_as_another_account_has_its_identity(stack: Stack) -> None:
    done = stack.devenv("run", "--as", "tasks", "--", sys.executable, "-c", _WHO)

    assert done.stdout == "tasks@validibot-local.iam.gserviceaccount.com\n", done.stderr


def test_run_as_unknown_account_names_the_known_ones(stack: Stack) -> None:
    done = stack.devenv("run", "--as", "task", "--", "true")

    assert done.returncode == 1
    assert "no account task;" in done.stderr
    assert "validator-shacl, web, worker" in done.stderr


def test_load_of_snapshot_restores_runs_and_objects(stack: Stack) -> None:
    def objects(*added: str) -> set[str]:
        done = stack.devenv("run", "--", sys.executable, "-c", _OBJECTS, *added)
        return set(done.stdout.splitlines())

    slug, sample = "meter-readings-schema", stack.sample("meter-readings-schema")
    kept = stack.run(slug, sample)
    assert stack.devenv("snapshot", "save", "runs", "--replace").returncode == 0
    files = objects()
    lost = stack.run(slug, sample)
    more = objects("added")

    done = stack.devenv("snapshot", "load", "runs")

    assert done.returncode == 0, done.stderr
    assert (objects(), more) == (files, {*files, "added"})
    assert stack.get_run(kept["id"])["result"] == kept["result"]
    assert stack.api.get(f"runs/{lost['id']}/").status_code == 404
    assert stack.run(slug, sample)["result"] == kept["result"]


def test_commands_of_page_work(stack: Stack, tmp_path: Path) -> None:
    command = tmp_path / "devenv"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m devenv "$@"\n')
    command.chmod(0o755)
    environ = stack.environ(PATH=f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin")

    done = pages.run(pages.commands("docs/commands.md"), folder=stack.root, environ=environ)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 row" in done.stdout
    assert "APP_ROLE=web\n" in (stack.root / ".devenv" / "web.env").read_text()
