"""Unit tests of the mapping from edited files to services."""

from pathlib import Path, PurePath

from watchfiles import Change

from devenv.stack import supervisor

GLOBS = {
    "web": ("config/**", "validibot/**"),
    "gcp": ("validators/**/*.py",),
}


def changed(*paths: str) -> supervisor.Edits:
    return supervisor.services_of(GLOBS, [PurePath(path) for path in paths])


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

    found = supervisor.watched_folders(
        tmp_path, ["validibot/web/**", "validibot/**", "validators/**/*.py", "config/**"]
    )

    assert found == [tmp_path / "validators", tmp_path / "validibot"]


def test_plain_file_is_watched_through_its_folder(tmp_path: Path) -> None:
    assert supervisor.watched_folders(tmp_path, ["devenv.toml"]) == [tmp_path]


def test_source_filter_ignores_caches_and_editor_files(tmp_path: Path) -> None:
    source = supervisor._SourceFilter()
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
