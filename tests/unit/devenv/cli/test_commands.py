"""The command line where no stack runs: usage, folders, broken files, an early Ctrl-C."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devenv import __main__ as entry
from devenv.cli.commands import main

STACK = '[services.web]\ncommand = ["true"]\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_command_prints_help_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2

    printed = capsys.readouterr()
    assert "Usage: devenv" in printed.out
    assert printed.err == ""


def test_version_names_that_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0

    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_that_shell(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0

    assert f"complete_{shell}" in capsys.readouterr().out


def test_command_below_the_stack_finds_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "devenv.toml").write_text(STACK)
    (folder / "src" / "shop").mkdir(parents=True)
    monkeypatch.chdir(folder / "src" / "shop")

    assert main(["snapshot", "list"]) == 0
    assert main(["snapshot", "save", "a"]) == 1
    assert "There is no data to save" in capsys.readouterr().err
    assert not (folder / "src" / "shop" / ".devenv").exists()


def test_negative_duration_is_no_request_for_help(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "devenv.toml").write_text(STACK)

    assert main(["clock", "advance", "-3h"]) == 1
    assert "Usage" not in capsys.readouterr().out


def test_init_writes_a_file_that_loads_and_prints_its_guesses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "app.py").write_text("app = Flask(__name__)\n")

    assert main(["init", "--json"]) == 0
    assert main(["init"]) == 1

    printed = capsys.readouterr()
    assert json.loads(printed.out)["guesses"] == ["web: app.py"]
    assert "# Guessed from app.py.\n[services.web]" in (folder / "devenv.toml").read_text()
    assert "exists. Nothing was changed" in printed.err


@pytest.mark.parametrize(("text", "code"), [("", 0), ("[stack", 1)])
def test_doctor_checks_the_machine_without_a_valid_file(
    folder: Path, text: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if text:
        (folder / "devenv.toml").write_text(text)

    assert main(["doctor", "--json"]) == code

    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert found["stack"]["fix"] == ("edit devenv.toml" if text else "devenv init")
    assert found["python"]["result"] == "ok"


@pytest.mark.parametrize("command", [["down"], ["logs", "--no-follow"]])
def test_running_stack_can_be_stopped_while_its_file_is_broken(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "devenv.toml").write_text("[stack")

    assert main(command) in (0, 1)

    assert "! devenv.toml:1: Expected ']'" in capsys.readouterr().err


def test_stack_without_services_does_not_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "devenv.toml").write_text("[stack]\n")

    assert main(["up", "--detach"]) == 2

    assert "devenv.toml describes no service" in capsys.readouterr().err


def test_interrupt_while_modules_are_imported_prints_no_traceback(folder: Path) -> None:
    (folder / "typer.py").write_text("raise KeyboardInterrupt\n")
    script = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(_ROOT)!r}]; "
    script += "from devenv.__main__ import main; sys.exit(main())"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (130, b"")


_ROOT = Path(entry.__file__).parents[1]
