"""The data of a stack after its first start, kept so that other stacks have less to set up.

A first start takes three times as long as a second one: it makes a database, migrates it, and stores
the demonstration. Most tests are about what comes after that. Each stack with a database of its own
begins with a migrated one. In the emulated mode it begins with the demonstration, too; where the files
of a stack lie in its own folder, its database names that folder.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from devenv.config import Config, load
from devenv.services.declared import step_key
from tests import forked
from tests.checkout import ROOT
from tests.cli.project import Project
from tests.database import Address, copy_folder, copy_template, digest, locked

_KEPT = ROOT / ".pytest_cache" / "stacks"
_CLUSTERS = ROOT / ".pytest_cache" / "d" / "postgres"
_INPUTS = (
    *("config/**/*.py", "devenv/**/*.py", "devenv.toml"),
    *("requirements/dev.txt", "tests/database.py", "tests/flows/prepared.py"),
)


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
        _mark_as_done(config, mode, ["migrate"])


def _migrate(server: Address) -> None:
    code = f"import django; django.setup(); from tests import database; database.create({server!r})"
    done = forked.python("-c", code, environ={"DJANGO_SETTINGS_MODULE": "config.settings.test"})
    assert done.returncode == 0, done.stderr


def _mark_as_done(config: Config, mode: str, steps: Iterable[str]) -> None:
    stack = config.stack(config.layers(mode), secrets=config.load_secrets())
    for name in steps:
        (config.state / f"{name}.done").write_text(step_key(stack, name))


def fill(root: Path, make_template: Callable[[Path], Project]) -> None:
    """Give a stack in the emulated mode that has not started yet the data of another one.

    The first caller for the present code starts that other one, in a folder of its own.
    """
    config = load(root)
    mode = config.about.profile
    commands = config.stacks[config.layers(mode)].commands()
    steps = {name: service for name, service in commands.items() if service.once}
    inputs = [pattern for service in steps.values() for pattern in service.inputs]
    kept = _KEPT / digest([*_INPUTS, *inputs])
    _KEPT.mkdir(parents=True, exist_ok=True)
    with locked(_KEPT / "lock"):
        if not kept.exists():
            for old in _KEPT.glob("*/"):
                shutil.rmtree(old)
            with TemporaryDirectory() as folder:
                _keep(make_template(Path(folder, "stack")), mode, kept)
    copy_folder(kept, config.state)
    _mark_as_done(config, mode, steps)


def _keep(template: Project, mode: str, kept: Path) -> None:
    migrate(template.root, mode)
    for arguments in (["up", "--detach"], ["down"], ["snapshot", "save", "first"]):
        done = template.devenv(*arguments)
        assert done.returncode == 0, done.stderr
    draft = kept.with_name("draft")
    copy_folder(template.root / ".devenv" / "snapshots" / "first" / "data", draft)
    draft.rename(kept)
