"""`init`: a first devenv.toml for a project, guessed from the files that it has."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from devenv.cli.output import CliOutput
from devenv.config import FILE, load
from devenv.schema import BUILT_IN

_PORT = 8000
_DEPENDENCIES = ("pyproject.toml", "package.json", "requirements*.txt", "requirements/*.txt")
_COMPOSE = ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")
_POSTGRES = re.compile(r'\b(psycopg|psycopg2|asyncpg|pg8000)\b|"pg"|"postgres"')
_GOOGLE = re.compile(r"google-cloud-|@google-cloud/|google-auth\b")
_MAIL_IMAGES = re.compile(r"mailpit|mailhog|maildev|mailcatcher|inbucket")
_POSTGRES_IMAGES = re.compile(r"(^|/)(postgres|postgis)(:|$|/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessedService:
    """A table `[services.NAME]`: its comment, and its keys in their order."""

    name: str
    comment: str
    keys: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Guess:
    """The services that files of a project suggest, and the reason for each of them."""

    root: Path
    services: dict[str, GuessedService] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def add(self, name: str, reason: str, **keys: Any) -> None:
        """Add a service, unless an earlier file has one of this name."""
        if name not in self.services:
            self.services[name] = GuessedService(name=name, comment=reason, keys=keys)
            self.reasons.append(f"{name}: {reason}")


def look(root: Path) -> Guess:
    """Return what the files of a folder suggest."""
    guess = Guess(root)
    for read in (_procfile, _manage, _python_module, _package, _dockerfile, _compose):
        read(guess)
    if not guess.services:
        guess.add(
            "web",
            "no file that is known was found: this serves the folder, replace it",
            **_server(("{python}", "-m", "http.server", "--bind", "{host}", "{port}")),
        )
    _backing(guess)
    return guess


def write(guess: Guess) -> str:
    """Return the text of a devenv.toml."""
    name = json.dumps(guess.root.resolve().name, ensure_ascii=False)
    parts = [
        f"# The stack that `devenv up` starts. Change what was guessed wrongly.\n[stack]\nname = {name}"
    ]
    parts += [_table(service) for service in guess.services.values()]
    parts.append(_CONSOLE)
    if "gcp" in guess.services:
        parts.append(_GCP)
    return "\n\n".join([*parts, _MORE])


def _procfile(guess: Guess) -> None:
    file = guess.root / "Procfile"
    for name, command in re.findall(r"^([A-Za-z0-9_-]+):\s*(\S.*)$", _text(file), re.MULTILINE):
        service, words = _name(name), ("sh", "-c", f"exec {command}")
        reason = f"`{name}` of the Procfile"
        if service == "release":
            guess.add("release", reason, command=words, once=True)
        elif service == "web":
            guess.add("web", reason, **_server(words))
        else:
            guess.add(service, reason, command=words)


def _manage(guess: Guess) -> None:
    if not (guess.root / "manage.py").is_file():
        return
    run = (_python(guess.root), "manage.py")
    guess.add(
        "migrate",
        "manage.py; it runs again when a migration is new",
        command=(*run, "migrate"),
        once=True,
        inputs=("**/migrations/*.py",),
    )
    serve = (*run, "runserver", "--noreload", "{host}:{port}")
    guess.add("web", "manage.py", **_server(serve, needs=("migrate",), watch=("**/*.py",)))


def _python_module(guess: Guess) -> None:
    for name in ("main", "app"):
        text = _text(guess.root / f"{name}.py")
        if not text:
            continue
        python, address = _python(guess.root), ("--host", "{host}", "--port", "{port}")
        command: tuple[str, ...]
        if app := re.search(
            r"^(\w+)\s*(?::\s*\w+\s*)?=\s*(FastAPI|Starlette)\(", text, re.MULTILINE
        ):
            command = (python, "-m", "uvicorn", f"{name}:{app[1]}", *address)
        elif re.search(r"\bFlask\(", text):
            command = (python, "-m", "flask", "--app", name, "run", *address)
        else:
            command = (python, f"{name}.py")
        guess.add("web", f"{name}.py", **_server(command, watch=("**/*.py",)))


def _package(guess: Guess) -> None:
    with suppress(ValueError, AttributeError):
        scripts = json.loads(_text(guess.root / "package.json") or "{}").get("scripts", {})
        for name in ("dev", "start"):
            if name in scripts:
                service = "web" if "web" not in guess.services else "frontend"
                reason = f"the script `{name}` of package.json"
                return guess.add(
                    service, reason, **_server(("npm", "run", name), port=_next(guess))
                )
    return None


def _dockerfile(guess: Guess) -> None:
    text = _text(guess.root / "Dockerfile")
    if not text or "web" in guess.services:
        return
    exposed = re.search(r"^EXPOSE\s+(\d+)", text, re.MULTILINE | re.IGNORECASE)
    inside = exposed[1] if exposed else "8080"
    script = (
        f"exec docker run --rm --init --env PORT={inside} "
        f'--publish "{{host}}:{{port}}:{inside}" "$(docker build --quiet .)"'
    )
    guess.add(
        "web", "the Dockerfile, which is built at each start", **_server(("sh", "-c", script))
    )


def _compose(guess: Guess) -> None:
    """Take the servers that a compose file runs from images of others."""
    file = next((guess.root / name for name in _COMPOSE if (guess.root / name).is_file()), None)
    with suppress(yaml.YAMLError, AttributeError, TypeError):
        services = yaml.safe_load(_text(file))["services"] if file else {}
        for name, service in services.items():
            image, reason = str(service.get("image", "")), f"{name} of {file.name if file else ''}"
            if _POSTGRES_IMAGES.search(image):
                guess.add("postgres", reason)
            elif _MAIL_IMAGES.search(image):
                guess.add("mail", reason)
            elif image and "build" not in service:
                _image(guess, _name(str(name)), service, reason)


def _image(guess: Guess, name: str, service: dict[str, Any], reason: str) -> None:
    ports = [re.fullmatch(r"(?:[\d.]+:)?(\d+):(\d+)", str(one)) for one in service.get("ports", ())]
    published = next((one for one in ports if one), None)
    listens = {"port": int(published[1]), "image_port": int(published[2])} if published else {}
    environ = service.get("environment") or {}
    if isinstance(environ, list):
        environ = dict(str(line).split("=", 1) for line in environ if "=" in str(line))
    env = {"env": {key: str(value) for key, value in environ.items()}} if environ else {}
    command = service.get("command") or ()
    words = shlex.split(command) if isinstance(command, str) else [str(one) for one in command]
    keys = {"image": service["image"], **({"command": words} if words else {}), **listens, **env}
    guess.add(name, reason, **keys, **({"ready": {"tcp": True}} if listens else {}))


def _backing(guess: Guess) -> None:
    """Add database and cloud if the packages of the project are made for them; wire all of it."""
    files = (path for pattern in _DEPENDENCIES for path in guess.root.glob(pattern))
    wanted = "\n".join(_text(path) for path in files)
    if _POSTGRES.search(wanted):
        guess.add("postgres", "a driver of PostgreSQL among the packages")
    if _GOOGLE.search(wanted):
        guess.add("gcp", "clients of Google Cloud among the packages")
    for name, service in guess.services.items():
        if service.keys.get("command") and "image" not in service.keys:
            _wire(guess, service, is_web=name == "web")


def _wire(guess: Guess, service: GuessedService, *, is_web: bool) -> None:
    needs = list(service.keys.pop("needs", ()))
    if "postgres" in guess.services:
        service.keys.setdefault("env", {})["DATABASE_URL"] = "{postgres.url}"
        needs += ["postgres"]
    if "gcp" in guess.services:
        service.keys["account"] = "web"
        needs += ["gcp"]
        if is_web:
            service.keys["url"] = "public"
    needs += [name for name in ("mail", "release") if name in guess.services and is_web]
    if needs:
        service.keys["needs"] = needs


def _server(
    command: Iterable[str],
    *,
    port: int = _PORT,
    needs: tuple[str, ...] = (),
    watch: tuple[str, ...] = (),
) -> dict[str, Any]:
    keys = {"command": tuple(command), "port": port, "needs": needs, "ready": {"tcp": True}}
    return keys | ({"watch": watch} if watch else {})


def _name(name: str) -> str:
    """Return a name as services of devenv.toml have them, none of a built-in one."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:20] or "service"
    plain = plain if plain[0].isalpha() else f"service-{plain}"
    return f"{plain}-process" if plain in BUILT_IN else plain


def _next(guess: Guess) -> int:
    """Return the first usual port that no guessed service has."""
    taken = {service.keys.get("port") for service in guess.services.values()}
    return next(port for port in range(_PORT, _PORT + 100) if port not in taken)


def _python(root: Path) -> str:
    """Return the interpreter of the project's own environment, else that of devenv."""
    places = (f"{name}/bin/python" for name in (".venv", "venv", "env"))
    return next((place for place in places if (root / place).exists()), "{python}")


def _text(path: Path | None) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8") if path else ""
    return ""


def _table(service: GuessedService) -> str:
    return "\n".join([f"# From {service.comment}.", f"[services.{service.name}]", *_lines(service)])


def _lines(service: GuessedService) -> Iterator[str]:
    for key, value in service.keys.items():
        if value or value == 0:
            yield f"{key} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[ " + ", ".join(_toml(one) for one in value) + " ]"
    return json.dumps(value, ensure_ascii=False)


_CONSOLE = """\
# The stack in a browser: `devenv open console`.
[services.console]
port = 8090"""
_GCP = """\
# The emulated Google Cloud. With iam = "warn" nothing is refused, and the log names each missing
# permission with the line that grants it; "strict" is like Google.
[gcp]
project = "local-project"
iam = "warn"
accounts = [ "web" ]
buckets = [ "local-files" ]
bindings = [
  { member = "web", role = "roles/storage.objectUser", resource = "bucket/local-files" },
]"""
_MORE = """\
# Further keys and built-in services: postgres, mail, gcp.
#
# [services.mail]                       catches mail: {mail.host}, {mail.port}
# [secrets]
# session_key = "{token:30}"            made once; {secrets.session_key}
# [profiles.NAME.services.web]          what differs with `devenv up --mode NAME`
"""


def run(root: Path, output: CliOutput) -> int:
    """Write devenv.toml, and say what it was guessed from. An existing file stays as it is."""
    file = root / FILE
    if file.exists():
        output.fail(f"{file} exists. Nothing was changed.", hint=f"edit {FILE}, or devenv up")
        return 1
    found = look(root)
    file.write_text(write(found), encoding="utf-8")
    load(root)
    lines = [f"  {FILE} has these services. Check them, then: devenv up", ""]
    output.result(
        {"file": str(file), "guesses": found.reasons},
        "\n".join([*lines, *(f"    {reason}" for reason in found.reasons), ""]),
    )
    return 0
