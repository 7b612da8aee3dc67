"""The data of a stack after its first start, kept so that other stacks have nothing to set up.

A first start takes three times as long as a second one: it makes a database, migrates it, and stores
the demonstration. Most tests are about what comes after that. Only the emulated mode can begin so:
where the files of a stack lie in its own folder, its database names that folder.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from devenv.config import load
from devenv.services.declared import step_key
from tests.checkout import ROOT
from tests.cli.project import Project
from tests.database import copy_folder, digest, locked

_KEPT = ROOT / ".pytest_cache" / "stacks"
_INPUTS = (
    *("config/**/*.py", "devenv/**/*.py", "devenv.toml"),
    *("requirements/dev.txt", "tests/flows/prepared.py"),
)


def fill(root: Path, make_template: Callable[[Path], Project]) -> None:
    """Give a stack in the emulated mode that has not started yet the data of another one.

    The first caller for the present code starts that other one, in a folder of its own.
    """
    config = load(root)
    layers = config.layers(config.about.profile)
    commands = config.stacks[layers].commands()
    steps = {name: service for name, service in commands.items() if service.once}
    inputs = [pattern for service in steps.values() for pattern in service.inputs]
    kept = _KEPT / digest([*_INPUTS, *inputs])
    _KEPT.mkdir(parents=True, exist_ok=True)
    with locked(_KEPT / "lock"):
        if not kept.exists():
            for old in _KEPT.glob("*/"):
                shutil.rmtree(old)
            with TemporaryDirectory() as folder:
                _keep(make_template(Path(folder, "stack")), kept)
    copy_folder(kept, config.state)
    stack = config.stack(layers, secrets=config.load_secrets())
    for name in steps:
        (config.state / f"{name}.done").write_text(step_key(stack, name))


def _keep(template: Project, kept: Path) -> None:
    for arguments in (["up", "--detach"], ["down"], ["snapshot", "save", "first"]):
        done = template.devenv(*arguments)
        assert done.returncode == 0, done.stderr
    draft = kept.with_name("draft")
    copy_folder(template.root / ".devenv" / "snapshots" / "first" / "data", draft)
    draft.rename(kept)
