"""Words that the shell offers after Tab, as its completion script asks for them."""

from pathlib import Path

import pytest

from devenv.cli.commands import main

STACK = """
[stack]
name = "Shop"
profile = "full"
[services.web]
command = ["true"]
[profiles.fast]
[profiles.full]
"""


def offered(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the lines that bash gets for a command line whose last word is being typed."""
    monkeypatch.setenv("_DEVENV_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("devenv sna", ["snapshot"]),
        ("devenv logs w", ["web", "worker"]),
        ("devenv up --mode f", ["fast", "full"]),
        ("devenv snapshot load be", ["before"]),
        ("devenv logs none", []),
    ],
)
def test_completion_offers_commands_and_names_of_the_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    expected: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devenv.toml").write_text(STACK)
    for name in ("logs/web.log", "logs/worker.log", "logs/mail.log", "snapshots/before/a.json"):
        path = tmp_path / ".devenv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert offered(words, monkeypatch, capsys).split() == expected


def test_completion_in_a_folder_with_a_broken_file_offers_no_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devenv.toml").write_text("[stack")

    assert offered("devenv up --mode f", monkeypatch, capsys).strip() == ""
