"""The commands in the README of each example, in another folder, with the installed wheels."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests import pages
from tests.checkout import ROOT
from tests.cli import wheels
from tests.ports import free_ports

EXAMPLES = ROOT / "examples"
NODE_MODULES = ROOT / "tests" / "emulator" / "foreign" / "node" / "node_modules"
# The fixtures do this for all examples at once; the rest of each README is executed.
INSTALLS = re.compile(r"^(python3? -m venv .*|pip install .*|npm install)\n", re.MULTILINE)
PIP_INSTALL = re.compile(r"^pip install ([^#\n]+)", re.MULTILINE)
pytestmark = pytest.mark.xdist_group("devenv")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with what the READMEs install, in the versions that we test."""
    place = tmp_path_factory.mktemp("examples")
    for project in ("packaging", "packaging/tasks"):
        wheels.build(place, project)
    wanted = {
        _wanted(word, readme.parent, place): None
        for readme in sorted(EXAMPLES.glob("*/README.md"))
        for line in PIP_INSTALL.findall(readme.read_text())
        for word in shlex.split(line)
        if word != "-r"
    }
    return wheels.install(place / "env", list(wanted))


def _wanted(word: str, example: Path, place: Path) -> str:
    """Return a word of `pip install` with the place of our wheel, or of a list of packages."""
    if word.endswith(".txt"):
        return f"--requirements={example / word}"
    if word.endswith(".whl"):
        assert (place / word).is_file(), f"{example.name}/README.md names another wheel: {word}"
        return str(place / word)
    return word


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ("django-minimal", "ada@example.org: answered\n"),
        ("flask-thumbnails", "storage.objects.delete   204"),
        ("node-worker", '{"words":6,"different":4}\n'),
    ],
)
def test_commands_of_readme_work(
    example: str, expected: str, programs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / example
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("node_modules"))
    if example == "node-worker":
        _link_node_modules(folder)
    script = INSTALLS.sub("", pages.commands(f"examples/{example}/README.md"))
    settings = (folder / "devenv.toml").read_text()
    for port, free in free_ports(settings).items():
        settings, script = settings.replace(port, free), script.replace(f":{port}", f":{free}")
    (folder / "devenv.toml").write_text(settings)
    environ = {
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{os.environ['PATH']}",  # noqa: TID251 - of node, wherever it is
    }
    # The next command is repeated until it tells what is expected.
    waiting = rf"until \1 | grep -qF {shlex.quote(expected.strip())}; do sleep 0.3; done\n\1\n"
    script = re.sub(r"^sleep 2\n(.+?)(?: #.*)?\n", waiting, script, flags=re.MULTILINE)

    done = pages.run(script, folder=folder, environ=environ)
    if done.returncode:  # else the script has stopped the stack itself
        pages.run("devenv down", folder=folder, environ=environ)

    assert done.returncode == 0, done.stderr[-3000:]
    assert expected in done.stdout


@pytest.mark.parametrize("example", [path.name for path in EXAMPLES.iterdir() if path.is_dir()])
def test_example_is_short(example: str) -> None:
    files = [
        path
        for path in (EXAMPLES / example).rglob("*")
        if path.suffix in (".mjs", ".py", ".toml")
        and not {"node_modules", "migrations"} & {*path.parts}
    ]

    lines = [line for path in files for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) <= 150
    assert len((EXAMPLES / example / "README.md").read_text().splitlines()) <= 40


def _link_node_modules(folder: Path) -> None:
    if not shutil.which("node") or not NODE_MODULES.is_dir():
        if os.environ.get("CI") == "true":  # noqa: TID251 - as above
            pytest.fail("run `make foreign`, which needs Node.js")
        pytest.skip("Google's Node clients are not installed: run `make foreign`")
    (folder / "node_modules").symlink_to(NODE_MODULES)
