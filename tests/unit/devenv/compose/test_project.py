"""What Docker says of a project is read, and the project is named as compose itself would."""

from pathlib import Path

import pytest

from devenv.compose.project import Container, Project, _version


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
def test_the_state_of_a_container_is_told_in_our_words(line: str, state: str, runs: bool) -> None:
    container = Container.parse(line)

    assert (container.service, container.state, container.runs) == ("web", state, runs)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("validibot", "validibot"),
        ("My Checkout 2", "mycheckout2"),
        ("_-x", "x"),
        ("项目", "validibot"),
    ],
)
def test_the_project_is_named_after_its_folder(
    folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)

    assert Project(Path("/somewhere") / folder).name == name


def test_the_name_that_the_user_gave_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "mine")

    assert Project(Path("/somewhere/else")).name == "mine"


def test_services_are_published_on_the_ports_taken() -> None:
    environ = Project(Path("/somewhere"), {"web": 8003, "gcp": 4590}).environ()

    assert (environ["WEB_PORT"], environ["GCP_PORT"]) == ("8003", "4590")


@pytest.mark.parametrize("text", ["2.26.1-4", "v2.30.3", "2.20.0"])
def test_versions_of_compose_are_compared_by_numbers(text: str) -> None:
    assert _version(text) >= (2, 20)
