"""The database of a stack that has not started yet: a copy of the migrated one of the unit tests.

A first start would make a cluster and run all migrations, which takes longer than the rest of it.
"""

from pathlib import Path

from devenv.config import load
from devenv.services.declared import step_key
from tests import forked
from tests.checkout import ROOT
from tests.database import Address, copy_template

_CLUSTERS = ROOT / ".pytest_cache" / "d" / "postgres"


def migrate(root: Path, mode: str = "") -> None:
    """Give a stack that has not started yet a migrated database.

    The step that migrates is left out in a mode whose variables are known before it starts.
    """
    config = load(root)
    server = config.state / "postgres"
    config.state.mkdir()
    _CLUSTERS.mkdir(parents=True, exist_ok=True)
    copy_template(_CLUSTERS, server, _migrate)
    server.chmod(0o700)
    (server / "secrets.env").rename(config.state / "secrets.env")
    if mode:
        stack = config.stack(config.layers(mode), secrets=config.load_secrets())
        (config.state / "migrate.done").write_text(step_key(stack, "migrate"))


def _migrate(server: Address) -> None:
    code = f"import django; django.setup(); from tests import database; database.create({server!r})"
    done = forked.python("-c", code, environ={"DJANGO_SETTINGS_MODULE": "config.settings.test"})
    assert done.returncode == 0, done.stderr
