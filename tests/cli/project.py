"""A project as small as can be, around which the real developer environment is started."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devenv.cli.context import Context
from devenv.cli.module import make_output
from devenv.config import load
from devenv.services.facts import gather
from tests import forked
from tests.checkout import ROOT
from tests.ports import on_free_ports
from tests.waiting import until

_MANAGE = """
import json, os, signal, sys
print("did", sys.argv[1], flush=True)
if sys.argv[1] == "clock":
    signal.pause()
if sys.argv[1] == "setup_all":
    sample = os.path.abspath("box.idf")
    seed = {"org": "demo", "workflows": [{"slug": "box", "name": "A box", "sample": sample}]}
    open(os.environ["SEED_FILE"], "w").write(json.dumps(seed))
if os.path.exists("broken"):
    sys.exit("the table is on fire")
"""
_WSGI = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["APP_ROLE"].encode()]
"""
_ASGI = """
import os
async def application(scope, receive, send):
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": os.environ["APP_ROLE"].encode()})
"""


@dataclass(frozen=True)
class CliProject:
    """A folder with a devenv.toml, and the command line in it."""

    root: Path

    def devenv(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return forked.python(
            "-m", "devenv", *arguments, environ=self.environ(**variables), folder=self.root
        )

    def environ(self, **variables: str) -> dict[str, str]:
        inherited = dict(os.environ)  # noqa: TID251 - a test hands it on
        return inherited | {"PYTHONPATH": str(ROOT), "MOCK_VALIDATORS": "1"} | variables

    def status(self) -> dict[str, Any]:
        """Return what `status --json` prints, without a process that would first load the command."""
        config = load(self.root)
        context = Context(config=config, output=make_output())
        state = context.state()
        found: dict[str, Any] = gather(config, context.stack_of(state), state)
        return found

    def until_restarted(self, service: str, *, not_pid: int) -> None:
        def restarted() -> bool:
            one = self.status()["services"][service]
            return bool(one["state"] == "healthy" and one["pid"] != not_pid)

        until(restarted)


# Console and sign-in provider would only cost time where nobody looks at them.
_IN_CONTAINERS = re.compile(r"\[profiles\.containers\].*?(?=\[gcp\])", re.DOTALL)
_WITHOUT = """
[profiles.mock.services]
console = false
oidc = false

[profiles.mock.env.product]
OIDC_SERVER_URL = false
OIDC_CLIENT_ID = false
OIDC_CLIENT_SECRET = false

"""


def make(root: Path, *, whole: bool = False) -> CliProject:
    """Create a project; without console and sign-in provider unless it is to be `whole`."""
    root.mkdir(parents=True)
    put_stand_in(root)
    (root / "Makefile").write_text("up:\n\tpython -m devenv up\n")
    text = on_free_ports((ROOT / "devenv.toml").read_text())
    (root / "devenv.toml").write_text(text if whole else _IN_CONTAINERS.sub(_WITHOUT, text))
    return CliProject(root)


def put_stand_in(root: Path) -> None:
    """Write programs that start at once in place of the product's."""
    (root / "config").mkdir(exist_ok=True)
    (root / "manage.py").write_text(_MANAGE)
    (root / "config" / "__init__.py").touch()
    (root / "config" / "wsgi.py").write_text(_WSGI)
    (root / "config" / "asgi.py").write_text(_ASGI)
