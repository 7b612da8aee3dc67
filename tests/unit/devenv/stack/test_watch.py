"""Unit tests of globs: the files that they match, what is watched for them, whom an edit concerns."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path, PurePath

import pytest
from watchfiles import Change

from devenv.stack import edits
from tests.waiting import slowdown

GLOBS = {
    "web": ("config/**", "validibot/**"),
    "gcp": ("validators/**/*.py",),
}


def changed(*paths: str) -> edits.Edits:
    return edits.services_of(GLOBS, [PurePath(path) for path in paths])


def test_edit_concerns_services_whose_globs_match() -> None:
    assert changed("validibot/web/templates/base.html") == {
        "web": ["validibot/web/templates/base.html"]
    }
    assert changed("config/urls.py", "validators/fmu/run.py") == {
        "web": ["config/urls.py"],
        "gcp": ["validators/fmu/run.py"],
    }


def test_edit_of_unwatched_file_concerns_nothing() -> None:
    assert changed("docs/index.md", "validators/fmu/validator.toml") == {}


def test_only_outermost_existing_folders_are_watched(tmp_path: Path) -> None:
    (tmp_path / "validibot" / "web").mkdir(parents=True)
    (tmp_path / "validators").mkdir()

    found = edits.watched_folders(
        tmp_path, ["validibot/web/**", "validibot/**", "validators/**/*.py", "config/**"]
    )

    assert found == [tmp_path / "validators", tmp_path / "validibot"]


def test_plain_file_is_watched_through_its_folder(tmp_path: Path) -> None:
    assert edits.watched_folders(tmp_path, ["devenv.toml"]) == [tmp_path]


def test_source_filter_ignores_caches_and_editor_files(tmp_path: Path) -> None:
    source = edits._SourceFilter(tmp_path)
    modified = Change.modified

    assert source(modified, str(tmp_path / "views.py"))
    for name in (
        "__pycache__/x.pyc",
        ".devenv/a.py",
        "views.py~",
        ".views.py.swp",
        ".#views.py",
        "4913",
    ):
        assert not source(modified, str(tmp_path / name))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A project with four source folders, and a hundred times as many that programs fill; it is in one itself."""
    root = tmp_path / ".venv" / "project"
    root.mkdir(parents=True)
    for name in ("shop", "shop/web", "pages", "pages/src"):
        (root / name).mkdir()
        (root / name / "views.py").touch()
    for filled in (".git", ".venv", "pages/node_modules", "shop/__pycache__", "environment"):
        for number in range(100):
            package = root / filled / f"package-{number}"
            package.mkdir(parents=True)
            (package / "views.py").touch()
    (root / "environment" / "pyvenv.cfg").touch()
    return root


@pytest.mark.parametrize(
    ("pattern", "files", "folders"),
    [
        (
            "**/*.py",
            ["pages/src/views.py", "pages/views.py", "shop/views.py", "shop/web/views.py"],
            5,
        ),
        ("*/*.py", ["pages/views.py", "shop/views.py"], 3),
        ("shop/views.py", ["shop/views.py"], 1),
        (".venv/package-1?/*.py", [f".venv/package-1{digit}/views.py" for digit in range(10)], 101),
    ],
)
def test_glob_visits_no_folder_that_programs_fill(
    large: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, files: list[str], folders: int
) -> None:
    visited, scandir = list[Path](), os.scandir

    def visit(path: Path) -> Iterator[os.DirEntry[str]]:
        visited.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", visit)

    found = [path.relative_to(large).as_posix() for path in edits.matching_files(large, [pattern])]

    assert (found, len(visited)) == (files, folders)


def test_watch_leaves_out_folders_that_programs_fill(large: Path) -> None:
    trees, alone = edits.watch_plan(large)

    names = [[path.relative_to(large).as_posix() for path in paths] for paths in (trees, alone)]
    assert names == [["pages/src", "shop/web"], [".", "pages", "shop"]]


def test_files_of_new_folder_are_noticed_beside_unwatched_ones(large: Path) -> None:
    async def edit() -> None:
        seen = edits.edits(large, {"web": ["**/*.py"]})
        async with asyncio.timeout(20 * slowdown()), aclosing(seen):
            await _noticed(seen, large / "shop" / "new.py")
            (large / "orders").mkdir()
            (large / "orders" / "models.py").touch()
            assert await anext(seen) == {"web": ["orders/models.py"]}
            await _noticed(seen, large / "orders" / "views.py")

    asyncio.run(edit())


def test_folder_that_vanishes_is_watched_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, plan = tmp_path / "shop", edits.watch_plan
    shop.mkdir()
    (tmp_path / "pages").mkdir()

    def plan_too_early(folder: Path) -> tuple[list[Path], list[Path]]:
        planned = plan(folder)
        if folder == shop and not (tmp_path / "gone").exists():
            (tmp_path / "gone").touch()
            shop.rmdir()
        return planned

    async def edit() -> None:
        seen = edits.edits(tmp_path, {"web": ["shop/**", "pages/**"]})
        async with asyncio.timeout(20 * slowdown()), aclosing(seen):
            await _noticed(seen, tmp_path / "pages" / "views.py")
            for number in range(2):
                shop.mkdir()
                await _noticed(seen, shop / f"{number}.py")
                shutil.rmtree(shop)

    monkeypatch.setattr(edits, "watch_plan", plan_too_early)
    asyncio.run(edit())


async def _noticed(seen: AsyncIterator[edits.Edits], file: Path) -> None:
    """Edit a file until that is noticed: nobody tells when watching begins."""
    noticing = asyncio.ensure_future(anext(seen))
    while not noticing.done():
        await asyncio.to_thread(file.touch)
        await asyncio.wait({noticing}, timeout=0.2)
    assert file.name in str(noticing.result())
