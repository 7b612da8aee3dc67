"""The everyday commands on the emulated mode; those of their page are executed."""

import sys
from pathlib import Path

import pytest

from tests import pages
from tests.flows.identity import BUCKET, FlowIdentity
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")
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


def test_run_as_another_account_has_its_identity(stack: Stack) -> None:
    done = stack.devenv("run", "--as", "tasks", "--", sys.executable, "-c", _WHO)

    assert done.stdout == "tasks@validibot-local.iam.gserviceaccount.com\n", done.stderr


def test_run_as_unknown_account_names_the_known_ones(stack: Stack) -> None:
    done = stack.devenv("run", "--as", "task", "--", "true")

    assert done.returncode == 1
    assert "no account task;" in done.stderr
    assert "validator-shacl, web, worker" in done.stderr


def test_commands_of_page_work_and_restore_data(stack: Stack, tmp_path: Path) -> None:
    environ = stack.environ(PATH=pages.path_of_forks(tmp_path / "bin"))
    before, load, after = pages.commands("docs/commands.md").partition("devenv snapshot load")

    worker = FlowIdentity(stack, "worker")

    def objects() -> set[str]:
        url = f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/o"
        found = worker.get(url, prefix="commands/").json().get("items", [])
        return {each["name"] for each in found}

    slug, sample = "meter-readings-schema", stack.sample("meter-readings-schema")
    kept = stack.run(slug, sample)
    worker.write(f"gs://{BUCKET}/commands/kept", b"text")
    first = pages.run(before, folder=stack.root, environ=environ)
    lost = stack.run(slug, sample)
    worker.write(f"gs://{BUCKET}/commands/added", b"text")
    more = objects()
    second = pages.run(load + after, folder=stack.root, environ=environ)

    assert (first.returncode, second.returncode) == (0, 0), (first.stderr + second.stderr)[-3000:]
    assert "1 row" in first.stdout
    assert "APP_ROLE=web\n" in (stack.root / ".devenv" / "web.env").read_text()
    assert (more, objects()) == ({"commands/kept", "commands/added"}, {"commands/kept"})
    assert stack.get_run(kept["id"])["result"] == kept["result"]
    assert stack.api.get(f"runs/{lost['id']}/").status_code == 404
    assert stack.run(slug, sample)["result"] == kept["result"]
