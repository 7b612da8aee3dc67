"""Services of a compose file, as tables of devenv.toml.

Images of others run in containers as they are; what the project builds runs as a process of this
machine. Names of services in variables become references: they are hosts only among containers.
"""

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from devenv.cli.guess import Guess, interpreter, literal, server, service_name, text_of

FILES = ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")
_MAIL_IMAGES = re.compile(r"mailpit|mailhog|maildev|mailcatcher|inbucket")
_POSTGRES_IMAGES = re.compile(r"(^|/)(postgres|postgis)(:|$|/)")
_DATABASE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# Entry points that only prepare a container, or are a file of its image.
_CONTAINERS_OWN = re.compile(r"/.*|.*\.sh|tini|dumb-init")
_DEFAULT = re.compile(r"\$\{\w+:?-([^}]*)\}")
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - replaced by the loopback address
_DATABASE_PARTS = {
    "host": re.compile(r"HOST|SERVER"),
    "port": re.compile(r"PORT"),
    "user": re.compile(r"USER"),
    "password": re.compile(r"PASS"),
    "database": re.compile(r"NAME|DATABASE|DB"),
}


def read_compose(guess: Guess) -> None:
    """Take the services of a compose file; a damaged file has none."""
    file = next((guess.root / name for name in FILES if (guess.root / name).is_file()), None)
    with suppress(yaml.YAMLError, AttributeError, TypeError, ValueError):
        services = yaml.safe_load(text_of(file))["services"] if file else {}
        reader = _ComposeReader(guess, services, file.name if file else "")
        for name, service in services.items():
            reader.take(str(name), service)


class _ComposeReader:
    """Reader of one file. `kinds` has what each of its services becomes."""

    def __init__(self, guess: Guess, services: Mapping[str, Any], file: str) -> None:
        self._guess = guess
        self._services = services
        self._file = file
        self._kinds = {str(name): _kind(service) for name, service in services.items()}

    def take(self, name: str, service: Mapping[str, Any]) -> None:
        reason, kind = f"{name} of {self._file}", self._kinds[name]
        if kind == "postgres":
            database = _environ(service).get("POSTGRES_DB", "")
            keys = {"database": database} if _DATABASE.fullmatch(database) else {}
            self._guess.add("postgres", reason, **keys)
        elif kind == "mail":
            self._guess.add("mail", reason)
        elif kind == "image":
            self._image(name, service, reason)
        else:
            self._own(name, service, reason)

    def _image(self, name: str, service: Mapping[str, Any], reason: str) -> None:
        listens = {}
        if published := _published(service) or self._mentioned(name):
            listens = {"port": published[0], "image_port": published[1]}
        words = _words(service.get("command") or ())
        env = self._env(service)
        keys = {"image": service["image"], "command": words, **listens, "env": env}
        ready = {"ready": {"tcp": True}} if listens else {}
        self._guess.add(service_name(name), reason, **keys, **ready)

    def _own(self, name: str, service: Mapping[str, Any], reason: str) -> None:
        """Take a service that the project builds. One that another file brought gets its variables."""
        folder, published = _context(service), _published(service)
        env, needs = self._env(service), self._needs(service)
        called = service_name(name)
        if "web" in self._guess.services and published and not folder:
            called = "web"
        if known := self._guess.services.get(called):
            known.keys["env"] = env | known.keys.get("env", {})
            return
        command = _command(self._guess.root, service)
        if not command or not (self._guess.root / folder).is_dir():
            self._guess.left_out.append(f"{reason}: neither it nor a Dockerfile has its command")
            return
        if command[0] in ("python", "python3"):
            command = [interpreter(self._guess.root / folder), *command[1:]]
        watch: tuple[str, ...] = ()
        if "migrate" in self._guess.services and "manage.py" in command and not folder:
            needs, watch = (*needs, "migrate"), ("**/*.py",)
        keys: dict[str, Any] = {"command": command, "needs": needs, "watch": watch}
        if published:
            command = [_local(word, published[1]) for word in command]
            keys = server(command, port=published[0], needs=needs, watch=watch)
        self._guess.add(called, reason, **keys, folder=folder, env=env)

    def _needs(self, service: Mapping[str, Any]) -> tuple[str, ...]:
        wanted = (str(name) for name in service.get("depends_on") or ())
        names = (self._name(one) for one in wanted if one in self._kinds)
        # Database and mail are added to the needs of everything that runs here.
        return tuple(name for name in names if name not in ("postgres", "mail"))

    def _name(self, name: str) -> str:
        kind = self._kinds[name]
        return kind if kind in ("postgres", "mail") else service_name(name)

    def _mentioned(self, name: str) -> tuple[int, int] | None:
        """Return the port at which another service reaches this one."""
        pattern = re.compile(rf"(?:^|[/@]){re.escape(name)}:(\d{{1,5}})\b")
        values = (v for one in self._services.values() for v in _environ(one).values())
        found = next((hit for value in values if (hit := pattern.search(value))), None)
        return (int(found[1]), int(found[1])) if found else None

    def _env(self, service: Mapping[str, Any]) -> dict[str, str]:
        """Return variables with references. Those that compose takes from the shell are in it here, too."""
        given = {key: _DEFAULT.sub(r"\1", value) for key, value in _environ(service).items()}
        kept = {key: literal(text) for key, text in given.items() if "${" not in text}
        return {key: self._value(key, text) for key, text in kept.items()}

    def _value(self, key: str, value: str) -> str:
        for name, kind in self._kinds.items():
            if kind == "postgres":
                value = self._of_database(key, value, name)
            elif kind == "mail":
                value = "{mail.host}" if value == name else value
                value = re.sub(rf"//{re.escape(name)}:1025\b", "//{mail.host}:{mail.port}", value)
            elif value == name:
                value = "127.0.0.1"
            else:
                place = f"127.0.0.1:{{services.{service_name(name)}.local_port}}"
                if kind == "image" or _published(self._services[name]):
                    value = re.sub(rf"(?<=[/@]){re.escape(name)}:\d{{1,5}}\b", place, value)
        return value

    def _of_database(self, key: str, value: str, name: str) -> str:
        url = re.fullmatch(
            rf"(postgres(?:ql)?)(\+\w+)?://[^@/]*@{re.escape(name)}(?::\d+)?/[\w-]*(\?\S*)?", value
        )
        if url and url[2]:
            login = "{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}"
            return f"{url[1]}{url[2]}://{login}/{{postgres.database}}{url[3] or ''}"
        if url:
            return f"{{postgres.url}}{url[3] or ''}"
        own = _environ(self._services[name])
        values = {
            "host": name,
            "port": "5432",
            "user": own.get("POSTGRES_USER", "postgres"),
            "password": own.get("POSTGRES_PASSWORD", ""),
            "database": own.get("POSTGRES_DB", ""),
        }
        parts = (part for part, pattern in _DATABASE_PARTS.items() if pattern.search(key.upper()))
        found = next((part for part in parts if value and values[part] == value), "")
        return f"{{postgres.{found}}}" if found else value


def _kind(service: Any) -> str:
    """Return what a service becomes: postgres, mail, image, or own. Raises AttributeError."""
    image = str(service.get("image", ""))
    if _POSTGRES_IMAGES.search(image):
        return "postgres"
    if _MAIL_IMAGES.search(image):
        return "mail"
    return "image" if image and "build" not in service else "own"


def _environ(service: Mapping[str, Any]) -> dict[str, str]:
    environ = service.get("environment") or {}
    if isinstance(environ, list):
        return dict(str(line).split("=", 1) for line in environ if "=" in str(line))
    return {str(key): _plain(value) for key, value in environ.items() if value is not None}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _published(service: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the first port that a service publishes here, and its port inside."""
    for one in service.get("ports") or ():
        text = _DEFAULT.sub(r"\1", _port(one))
        if found := re.fullmatch(r"(?:[\d.]+:)?(\d+):(\d+)(?:/tcp)?", text):
            return int(found[1]), int(found[2])
    return None


def _port(one: Any) -> str:
    """Return an entry of `ports` in its short form."""
    if isinstance(one, dict):
        return f"{one.get('published', '')}:{one.get('target', '')}/{one.get('protocol', 'tcp')}"
    return str(one)


def _context(service: Mapping[str, Any]) -> str:
    """Return the folder of the project that a service is built from, "" for the whole of it."""
    build = service.get("build") or ""
    path = str(build.get("context", "") if isinstance(build, dict) else build)
    folder = str(PurePosixPath(path))
    return "" if folder == "." or folder.startswith(("/", "..")) else folder


def _words(command: Any) -> list[str]:
    words = shlex.split(command) if isinstance(command, str) else [str(one) for one in command]
    return [literal(word) for word in words]


def _command(root: Path, service: Mapping[str, Any]) -> list[str]:
    """Return what a service that is built here runs, [] if neither it nor its Dockerfile tells."""
    command = _words(service.get("command") or ())
    if entry := _words(service.get("entrypoint") or ()):
        return entry + command
    entry = _of_dockerfile(root, service, "ENTRYPOINT")
    if entry and _CONTAINERS_OWN.fullmatch(entry[0]):
        entry = []
    return entry + (command or _of_dockerfile(root, service, "CMD"))


def _of_dockerfile(root: Path, service: Mapping[str, Any], instruction: str) -> list[str]:
    """Return an instruction of the Dockerfile that a service is built by, [] if it has none."""
    build = service.get("build")
    name = build.get("dockerfile", "Dockerfile") if isinstance(build, dict) else "Dockerfile"
    text = text_of(root / _context(service) / str(name))
    found = re.findall(rf"^{instruction}\s+(.*(?:\\\n.*)*)", text, re.MULTILINE | re.IGNORECASE)
    if not found:
        return []
    with suppress(ValueError):
        if isinstance(words := json.loads(found[-1]), list):
            return _words(words)
    return ["sh", "-c", f"exec {literal(found[-1])}"]


def _local(word: str, inside: int) -> str:
    """Return a word of a command with the stack's address and port in place of the container's."""
    word = re.sub(rf"(?<!\d){inside}(?!\d)", "{port}", word)
    return word.replace(_EVERY_ADDRESS, "{host}")
