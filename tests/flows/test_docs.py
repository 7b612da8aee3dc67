"""Every command that the documentation shows is executed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.stack import ROOT, Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(240)]

PAGES = ("docs/api.md",)
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("document", PAGES)
def test_the_commands_of_the_document_work(stack: Stack, document: str, tmp_path: Path) -> None:
    commands = "\n".join(BLOCK.findall((ROOT / document).read_text()))
    programs = Path(sys.executable).parent
    environ = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "VALIDIBOT_API_URL": stack.web,
        "VALIDIBOT_TOKEN": stack.facts["api_key"],
        "VALIDIBOT_ORG": stack.facts["org"],
        "VALIDIBOT_NO_KEYRING": "1",
        "VALIDIBOT_POLL_INTERVAL": "1",
    }

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", commands],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
