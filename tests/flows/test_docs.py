"""The commands of the API page are executed."""

import sys
from pathlib import Path

import pytest

from tests import pages
from tests.checkout import ROOT
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")


def test_commands_of_api_page_work(stack: Stack, tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "VALIDIBOT_API_URL": stack.web,
        "VALIDIBOT_TOKEN": stack.facts["api_key"],
        "VALIDIBOT_ORG": stack.facts["org"],
        "VALIDIBOT_NO_KEYRING": "1",
        "VALIDIBOT_POLL_INTERVAL": "1",
    }

    script = pages.commands("docs/api.md").replace("wait=30", "wait=60")
    environ |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = pages.run(script, folder=ROOT, environ=environ)

    assert done.returncode == 0, done.stderr[-3000:]
