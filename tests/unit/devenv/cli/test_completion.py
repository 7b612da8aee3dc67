"""Words that the shell offers after Tab, as its completion script asks for them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devenv.cli.commands import main

STACK = """
[stack]
name = "Shop"
profile = "full"
[services.web]
command = ["true"]
[profiles.fast.services.worker]
[profiles.full]
[profiles.full-docker]
on = ["full"]
[gcp]
accounts = ["app", "mailer"]
"""


def offered(
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shell: str = "bash",
) -> str:
    """Return what a shell gets for a command line whose last word is being typed."""
    for name, value in {
        "_DEVENV_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }.items():
        monkeypatch.setenv(name, value)
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
        ("devenv open we", ["web"]),
        ("devenv shell --service wo", ["worker"]),
        ("devenv run --as ma", ["mailer"]),
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
    (tmp_path / ".devenv" / "snapshots" / "before").mkdir(parents=True)
    (tmp_path / ".devenv" / "snapshots" / "before" / "a.json").touch()

    assert offered(words, monkeypatch, capsys).split() == expected


def test_completion_in_a_folder_with_a_broken_file_offers_no_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devenv.toml").write_text("[stack")

    assert offered("devenv up --mode f", monkeypatch, capsys).strip() == ""


@pytest.mark.parametrize(
    ("shell", "answer"),
    [("zsh", """_arguments '*: :(("web" "worker"))'"""), ("fish", "web\nworker")],
)
def test_completion_answers_in_the_form_of_the_shell(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shell: str,
    answer: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devenv.toml").write_text(STACK)

    told = offered("devenv logs w", monkeypatch, capsys, shell)

    assert " ".join(told.split()) == " ".join(answer.split())


# Of a shell that runs: it prints what Tab would offer for the words that follow.
IN_SHELL = {
    "bash": """eval "$(devenv completion bash)"; COMP_WORDS=(devenv logs w) COMP_CWORD=2
        _devenv_completion devenv; printf '%s\\n' "${COMPREPLY[@]}" """,
    "zsh": """compdef() {}; _arguments() { print -r -- "$@"; }; eval "$(devenv completion zsh)"
        words=(devenv logs w) CURRENT=3; _devenv_completion""",
    "fish": "devenv completion fish | source; complete -C 'devenv logs w'",
}


@pytest.mark.parametrize("shell", IN_SHELL)
def test_script_of_completion_runs_in_its_shell(tmp_path: Path, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"There is no {shell} here: compose/offline/apt.sh {shell}")
    (tmp_path / "devenv.toml").write_text(STACK)
    folder = Path(sys.executable).parent
    environ = {"PATH": f"{folder}:{os.defpath}", "HOME": str(tmp_path)}

    done = subprocess.run(
        [shell, "-c", IN_SHELL[shell]],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (re.findall(r"\bw[a-z]+", done.stdout), done.stderr) == (["web", "worker"], "")
