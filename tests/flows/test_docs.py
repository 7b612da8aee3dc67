"""The commands of the API page are executed."""

from pathlib import Path

import pytest

from tests import pages
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

    done = pages.execute("docs/api.md", environ=environ)

    assert done.returncode == 0, done.stderr[-3000:]
