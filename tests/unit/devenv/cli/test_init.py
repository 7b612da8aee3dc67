"""Unit tests of the first devenv.toml, guessed from the files of a project."""

from pathlib import Path

import pytest

from devenv.cli import init
from devenv.config import load
from devenv.schema import CommandService


def _guessed(folder: Path, **files: str) -> dict[str, CommandService]:
    """Write files, guess, and return the services of the devenv.toml that was written.

    Each has the console, which is left out here.
    """
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "devenv.toml").write_text(init.write(init.look(folder)))
    config = load(folder).stacks[()]
    return dict(config.commands()) | {
        name: CommandService()
        for name in set(config.services) - set(config.commands()) - {"console"}
    }


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"manage.py": ""}, ("{python}", "manage.py", "runserver", "--noreload", "{host}:{port}")),
        ({"Procfile": "web: serve --port $PORT\n"}, ("sh", "-c", "exec serve --port $PORT")),
        (
            {"main.py": "api = FastAPI()\n"},
            ("{python}", "-m", "uvicorn", "main:api", "--host", "{host}", "--port", "{port}"),
        ),
        (
            {"app.py": "app = Flask(__name__)\n"},
            ("{python}", "-m", "flask", "--app", "app", "run", "--host", "{host}", "--port", "{port}"),
        ),
        ({"main.py": "print(1)\n", ".venv/bin/python": ""}, (".venv/bin/python", "main.py")),
        ({"package.json": '{"scripts": {"start": "node ."}}'}, ("npm", "run", "start")),
        ({}, ("{python}", "-m", "http.server", "--bind", "{host}", "{port}")),
    ],
)  # fmt: skip
def test_server_is_guessed_from_file(
    tmp_path: Path, files: dict[str, str], command: tuple[str, ...]
) -> None:
    web = _guessed(tmp_path, **files)["web"]

    assert (web.command, web.port) == (command, 8000)
    assert web.ready


def test_processes_of_procfile_become_services(tmp_path: Path) -> None:
    found = _guessed(tmp_path, Procfile="web: serve\nclean_up: tidy\nmail: send\nrelease: x\n")

    assert set(found) == {"web", "clean-up", "mail-process", "release"}
    assert (found["release"].once, found["web"].needs) == (True, ("release",))


def test_packages_bring_database_and_cloud(tmp_path: Path) -> None:
    files = {"main.py": "x = 1", "requirements.txt": "psycopg[binary]\ngoogle-cloud-storage\n"}
    found = _guessed(tmp_path, **files)

    assert {"postgres", "gcp"} <= set(found)
    assert (found["web"].env, found["web"].account, found["web"].url) == (
        {"DATABASE_URL": "{postgres.url}"},
        "web",
        "public",
    )


def test_images_of_compose_file_become_services(tmp_path: Path) -> None:
    text = """
services:
  app: {build: .}
  db: {image: "postgres:17"}
  post: {image: axllent/mailpit}
  Cache_1:
    image: redis:8
    command: redis-server --save ''
    ports: ["127.0.0.1:6380:6379"]
    environment: [A=b]
"""
    found = _guessed(tmp_path, **{"main.py": "x = 1", "compose.yml": text})

    assert set(found) == {"web", "postgres", "mail", "cache-1"}
    cache = found["cache-1"]
    assert (cache.image, cache.port, cache.image_port) == ("redis:8", 6380, 6379)
    assert (cache.command, cache.env) == (("redis-server", "--save", ""), {"A": "b"})


@pytest.mark.parametrize("text", ["{", "[]", "services: 3", "services: {a: 3}"])
def test_damaged_files_are_ignored(tmp_path: Path, text: str) -> None:
    files = {"compose.yml": text, "package.json": text}

    assert set(_guessed(tmp_path, **files)) == {"web"}


def test_dockerfile_is_built_and_published_on_loopback(tmp_path: Path) -> None:
    web = _guessed(tmp_path, Dockerfile="FROM x\nEXPOSE 3000\n")["web"]

    assert '--publish "{host}:{port}:3000"' in web.command[2]
