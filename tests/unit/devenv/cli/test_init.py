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
        (
            {"Procfile": "web: serve ${port}\n", "venv/bin/python": ""},
            ("sh", "-c", 'export PATH="$PWD/venv/bin:$PATH"; exec serve ${{port}}'),
        ),
        ({"package.json": '{"scripts": {"start": "node ."}}'}, ("npm", "run", "start")),
        (
            {"src/shop/__init__.py": "", "src/shop/main.py": "app = FastAPI()\n"},
            ("{python}", "-m", "uvicorn", "shop.main:app", "--host", "{host}", "--port", "{port}"),
        ),
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
    assert not found["release"].inputs


def test_processes_of_python_restart_after_edits_and_migrations_apply(tmp_path: Path) -> None:
    files = {"Procfile": "worker: tick\nrelease: alembic upgrade head\n", "requirements.txt": ""}
    found = _guessed(tmp_path, **files)

    assert found["worker"].watch == ("**/*.py",)
    assert found["release"].inputs == ("**/migrations/*.py", "**/versions/*.py")


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


def test_services_that_compose_builds_run_here_with_references(tmp_path: Path) -> None:
    text = """
services:
  db:
    image: postgres:16
    environment: {POSTGRES_PASSWORD: secret, POSTGRES_DB: shop}
  cache: {image: "redis:8"}
  web:
    build: .
    command: gunicorn --bind 0.0.0.0:80 app:app
    environment:
      DATABASE_URL: postgres://postgres:secret@db:5432/shop
      SQLALCHEMY: postgresql+psycopg://postgres:secret@db/shop?sslmode=disable
      DB_HOST: db
      DB_PASSWORD: secret
      CACHE: redis://cache:6379/0
      FROM_SHELL: ${TOKEN}
      DEBUG: true
    ports: ["${PORT:-8000}:80"]
    depends_on: [db, cache]
  worker: {build: {context: ./jobs}, depends_on: {cache: {condition: service_started}}}
  odd: {build: ./nowhere}
"""
    files = {
        "docker-compose.yml": text,
        "app.py": "x = 1",
        "jobs/Dockerfile": 'FROM x\nCMD ["python", "work.py"]\n',
    }
    found = _guessed(tmp_path, **files)

    assert set(found) == {"web", "postgres", "cache", "worker"}
    web, worker = found["web"], found["worker"]
    assert (web.command, web.port) == (("gunicorn", "--bind", "{host}:{port}", "app:app"), 8000)
    assert set(web.needs) == {"cache", "postgres"}
    assert web.env == {
        "DATABASE_URL": "{postgres.url}",
        "SQLALCHEMY": "postgresql+psycopg://{postgres.user}:{postgres.password}@{postgres.host}:"
        "{postgres.port}/{postgres.database}?sslmode=disable",
        "DB_HOST": "{postgres.host}",
        "DB_PASSWORD": "{postgres.password}",
        "CACHE": "redis://127.0.0.1:{services.cache.local_port}/0",
        "DEBUG": "true",
    }
    assert (found["cache"].port, found["cache"].image_port) == (6379, 6379)
    assert (worker.command, worker.folder) == (("{python}", "work.py"), "jobs")
    assert "# odd of docker-compose.yml: neither" in (tmp_path / "devenv.toml").read_text()


def test_variables_of_compose_reach_the_server_of_manage_py(tmp_path: Path) -> None:
    text = """
services:
  app: {build: ., command: gunicorn shop, ports: ["80:80"], environment: [SITE=x]}
  worker: {build: ., command: python manage.py work}
"""
    found = _guessed(tmp_path, **{"manage.py": "", "compose.yaml": text})

    assert set(found) == {"migrate", "web", "worker"}
    assert (found["worker"].needs, found["worker"].watch) == (("migrate",), ("**/*.py",))
    assert (found["web"].command[1], found["web"].env) == ("manage.py", {"SITE": "x"})


def test_folders_of_a_repository_become_services(tmp_path: Path) -> None:
    files = {
        "README.md": "",
        "api/manage.py": "",
        "api/requirements.txt": "psycopg",
        "shop/package.json": '{"scripts": {"dev": "vite"}}',
        "shop/node_modules/x/package.json": '{"scripts": {"dev": "x"}}',
        ".hidden/main.py": "x",
    }
    found = _guessed(tmp_path, **files)

    assert set(found) == {"api", "api-migrate", "shop", "postgres"}
    api = found["api"]
    assert (api.folder, api.port, api.watch) == ("api", 8000, ("api/**/*.py",))
    assert api.needs == ("api-migrate", "postgres")
    assert found["api-migrate"].inputs == ("api/**/migrations/*.py",)
    assert (found["shop"].command, found["shop"].port) == (("npm", "run", "dev"), 8001)


def test_services_two_folders_below_are_found(tmp_path: Path) -> None:
    found = _guessed(tmp_path, **{"apps/Web UI/main.py": "app = FastAPI()"})

    assert {name: one.folder for name, one in found.items()} == {"web-ui": "apps/Web UI"}


def test_folders_of_the_same_name_and_long_names_are_all_taken(tmp_path: Path) -> None:
    long = "a-folder-with-a-name-that-is-too-long"
    files = {"apps/api/main.py": "x = 1", "jobs/api/main.py": "x = 1"}
    found = _guessed(tmp_path, **files, **{f"apps/{long}/Procfile": "web: a\nclock: b\n"})

    folders = {name: service.folder for name, service in found.items()}
    assert folders == {"api": "apps/api", "jobs-api": "jobs/api", long[:31]: f"apps/{long}"}
    assert init.look(tmp_path).left_out == [
        f"apps/{long}: clock: another service is named {long[:31]}"
    ]


@pytest.mark.parametrize(
    ("keys", "dockerfile", "command"),
    [
        ("", 'ENTRYPOINT ["serve"]\nCMD ["--port", "80"]', ("serve", "--port", "{port}")),
        ("command: --all", 'ENTRYPOINT ["serve"]\nCMD ["--port", "80"]', ("serve", "--all")),
        ("", 'ENTRYPOINT ["/bin/entry"]\nCMD ["serve"]', ("serve",)),
        ("entrypoint: [other]", 'ENTRYPOINT ["serve"]\nCMD ["a"]', ("other",)),
    ],
)
def test_entry_point_of_a_built_service_begins_its_command(
    tmp_path: Path, keys: str, dockerfile: str, command: tuple[str, ...]
) -> None:
    text = f"""
services:
  shop:
    build: .
    ports: [{{published: "8001", target: 80}}]
    {keys}
"""
    found = _guessed(tmp_path, **{"compose.yml": text, "Dockerfile": f"FROM x\n{dockerfile}\n"})

    assert set(found) == {"shop"}
    assert (found["shop"].command, found["shop"].port) == (command, 8001)


@pytest.mark.parametrize("text", ["{", "[]", "services: 3", "services: {a: 3}"])
def test_damaged_files_are_ignored(tmp_path: Path, text: str) -> None:
    files = {"compose.yml": text, "package.json": text}

    assert set(_guessed(tmp_path, **files)) == {"web"}


def test_dockerfile_is_built_and_published_on_loopback(tmp_path: Path) -> None:
    web = _guessed(tmp_path, Dockerfile="FROM x\nEXPOSE 3000\n")["web"]

    assert '--publish "{host}:{port}:3000"' in web.command[2]
