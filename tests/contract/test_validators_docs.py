"""Commands of the page about validators."""

from pathlib import Path

from tests import pages

ROOT = Path(__file__).parents[2]


def test_commands_of_docs_page_work(tmp_path: Path) -> None:
    (tmp_path / "validators").symlink_to(ROOT / "validators")

    done = pages.run(
        pages.commands("docs/validators.md"),
        folder=tmp_path,
        environ={
            "HOME": str(tmp_path),
            "PATH": pages.path_of_forks(tmp_path / "bin"),
            "PYTHONPATH": ".",
        },
    )

    assert done.returncode == 0, done.stderr
    assert "hamlet: success, as expected" in done.stdout
    assert "no-text: failed_validation, as expected" in done.stdout
