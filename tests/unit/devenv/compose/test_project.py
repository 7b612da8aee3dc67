"""Unit tests of compose projects: names, ports, and the parsing of what Docker prints."""

from pathlib import Path

import pytest

from devenv.compose.project import ComposeContainer, ComposeProject, _version, project_name


@pytest.mark.parametrize(
    ("line", "state", "runs"),
    [
        ("web\trunning\tUp 3 minutes (healthy)", "healthy", True),
        ("web\trunning\tUp 2 seconds (health: starting)", "starting", True),
        ("web\trunning\tUp 2 minutes (unhealthy)", "unhealthy", True),
        ("web\trunning\tUp 2 seconds", "running", True),
        ("web\tcreated\tCreated", "created", False),
        ("web\texited\tExited (0) 5 seconds ago", "done", False),
        ("web\texited\tExited (137) About a minute ago", "failed", False),
    ],
)
def test_container_state_is_parsed(line: str, state: str, runs: bool) -> None:
    container = ComposeContainer.parse(line)

    assert (container.service, container.state, container.runs) == ("web", state, runs)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("validibot", "validibot-"),
        ("My Checkout 2", "mycheckout2-"),
        ("_-x", "x-"),
        ("项目", "devenv-"),
    ],
)
def test_project_name_begins_with_folder_name(
    folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)

    assert project_name(Path("/somewhere") / folder).startswith(name)


def test_project_names_of_equally_named_folders_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    one, other = Path("/one/validibot"), Path("/other/validibot")

    assert project_name(one) != project_name(other)
    assert project_name(one) == project_name(one)


def test_given_project_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "mine")

    assert project_name(Path("/somewhere/else")) == "mine"


def test_environment_names_project_and_ports() -> None:
    environ = ComposeProject(Path("/somewhere"), "mine", {"web": 8003, "gcp": 4590}).environ()

    assert (environ["WEB_PORT"], environ["GCP_PORT"]) == ("8003", "4590")
    assert environ["COMPOSE_PROJECT_NAME"] == "mine"


@pytest.mark.parametrize("text", ["2.26.1-4", "v2.30.3", "2.20.0"])
def test_compose_version_is_parsed(text: str) -> None:
    assert _version(text) >= (2, 20)
