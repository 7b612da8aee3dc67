"""`init`: a first devenv.toml for a project, guessed from the files that it has."""

import json
import re
from contextlib import suppress
from pathlib import Path

from devenv.cli.guess import (
    Guess,
    GuessedService,
    interpreter,
    is_python,
    literal,
    server,
    service_name,
    tables,
    text_of,
)
from devenv.cli.guess_compose import read_compose
from devenv.cli.output import CliOutput
from devenv.config import FILE, load

_DEPENDENCIES = ("pyproject.toml", "package.json", "requirements*.txt", "requirements/*.txt")
_POSTGRES = re.compile(r'\b(psycopg|psycopg2|asyncpg|pg8000)\b|"pg"|"postgres"')
_GOOGLE = re.compile(r"google-cloud-|@google-cloud/|google-auth\b")
_NOT_OURS = frozenset({"node_modules", "venv", "env", "dist", "build", "docs", "tests", "test"})
_BACKING = ("postgres", "mail", "gcp")
_MIGRATES = re.compile(r"\b(migrate|alembic|upgrade)\b")
_MIGRATIONS = ("**/migrations/*.py", "**/versions/*.py")
_SCRIPTS = ("**/*.js", "**/*.mjs", "**/*.cjs", "**/*.ts")  # `dev` looks for edits itself


def look(root: Path) -> Guess:
    """Return what the files of a folder suggest, or those of the folders in it."""
    guess = _files_of(root)
    if not guess.services:
        _folders(guess)
    if not set(guess.services) - set(_BACKING):
        guess.add(
            "web",
            "nothing that is known here: it serves the folder. Replace it",
            **server(("{python}", "-m", "http.server", "--bind", "{host}", "{port}")),
        )
    _backing(guess)
    return guess


def _files_of(root: Path) -> Guess:
    guess = Guess(root)
    for read in (_procfile, _manage, read_compose, _python_module, _package, _dockerfile):
        read(guess)
    return guess


def _folders(guess: Guess) -> None:
    """Take the projects in folders of a repository: those in it, else those one level below."""
    for pattern in ("*", "*/*"):
        for folder in sorted(guess.root.glob(pattern)):
            parts = folder.relative_to(guess.root).parts
            hidden = any(part.startswith(".") or part in _NOT_OURS for part in parts)
            if folder.is_dir() and not hidden:
                _take_folder(guess, _files_of(folder), "/".join(parts))
        if guess.services:
            return


def _take_folder(guess: Guess, found: Guess, folder: str) -> None:
    """Take the services of a folder: `web` by the folder's name, others by both names.

    Where another folder of that name was earlier, the name has those of the folders above, too.
    """
    own = service_name(folder.rpartition("/")[2])
    own = service_name(folder) if own in guess.services else own
    names = {
        name: name if name in _BACKING else own if name == "web" else service_name(f"{own}-{name}")
        for name in found.services
    }
    for name, service in found.services.items():
        if names[name] in guess.services and name not in _BACKING:
            guess.left_out.append(f"{folder}: {name}: another service is named {names[name]}")
            continue
        keys = dict(service.keys)
        if keys.get("command") and "image" not in keys:
            inner = keys.get("folder", "")
            keys["folder"] = f"{folder}/{inner}" if inner else folder
        if "port" in keys:
            keys["port"] = guess.next_port()
        for globs in ("watch", "inputs"):
            keys[globs] = tuple(f"{folder}/{glob}" for glob in keys.get(globs, ()))
        keys["needs"] = tuple(names[need] for need in keys.get("needs", ()) if need in names)
        guess.add(names[name], f"{folder}: {service.comment}", **keys)
    guess.left_out += [f"{folder}: {one}" for one in found.left_out]


def write(guess: Guess) -> str:
    """Return the text of a devenv.toml."""
    name = json.dumps(guess.root.resolve().name, ensure_ascii=False)
    parts = [
        f"# The stack that `devenv up` starts. Change what was guessed wrongly.\n[stack]\nname = {name}"
    ]
    parts += tables(guess)
    parts.append(_CONSOLE)
    if "gcp" in guess.services:
        parts.append(_GCP)
    if guess.left_out:
        parts.append("\n".join(["# Left out:", *(f"# {reason}" for reason in guess.left_out)]))
    return "\n\n".join([*parts, _MORE])


def _procfile(guess: Guess) -> None:
    file = guess.root / "Procfile"
    for name, command in re.findall(r"^([A-Za-z0-9_-]+):\s*(\S.*)$", text_of(file), re.MULTILINE):
        service, words = service_name(name), ("sh", "-c", _in_environment(guess.root, command))
        reason = f"`{name}` of the Procfile"
        watch = ("**/*.py",) if is_python(guess.root) else ()
        if service == "release":
            applied = _MIGRATIONS if _MIGRATES.search(command) else ()
            keys = {"inputs": applied, "watch": applied} if applied else {}
            guess.add("release", reason, command=words, once=True, **keys)
        elif service == "web":
            guess.add("web", reason, **server(words, watch=watch))
        else:
            guess.add(service, reason, command=words, watch=watch)


def _in_environment(root: Path, command: str) -> str:
    """Return a command for a shell, which finds the programs of the project's own environment first."""
    own = interpreter(root).rpartition("/")[0]
    path = f'export PATH="$PWD/{own}:$PATH"; ' if own else ""
    return f"{path}exec {literal(command)}"


def _manage(guess: Guess) -> None:
    if not (guess.root / "manage.py").is_file():
        return
    run = (interpreter(guess.root), "manage.py")
    guess.add(
        "migrate",
        "manage.py; it runs again when a migration is new",
        command=(*run, "migrate"),
        once=True,
        inputs=_MIGRATIONS[:1],
        watch=_MIGRATIONS[:1],
    )
    serve = (*run, "runserver", "--noreload", "{host}:{port}")
    guess.add("web", "manage.py", **server(serve, needs=("migrate",), watch=("**/*.py",)))


def _python_module(guess: Guess) -> None:
    """Take main.py or app.py, else that of a package, which may lie in `src`."""
    python, address = interpreter(guess.root), ("--host", "{host}", "--port", "{port}")
    packages = (one.parent for at in ("*", "src/*") for one in guess.root.glob(f"{at}/__init__.py"))
    inner = sorted(package for package in packages if package.name not in _NOT_OURS)
    for folder in (guess.root, *inner):
        for name in ("main", "app"):
            text, is_package = text_of(folder / f"{name}.py"), folder != guess.root
            module = f"{folder.name}.{name}" if is_package else name
            command: tuple[str, ...]
            if app := re.search(
                r"^(\w+)\s*(?::\s*\w+\s*)?=\s*(FastAPI|Starlette)\(", text, re.MULTILINE
            ):
                command = (python, "-m", "uvicorn", f"{module}:{app[1]}", *address)
            elif re.search(r"\bFlask\(", text):
                command = (python, "-m", "flask", "--app", module, "run", *address)
            elif text and not is_package:
                command = (python, f"{name}.py")
            else:
                continue
            reason = (folder / f"{name}.py").relative_to(guess.root).as_posix()
            guess.add("web", reason, **server(command, watch=("**/*.py",)))


def _package(guess: Guess) -> None:
    with suppress(ValueError, AttributeError):
        scripts = json.loads(text_of(guess.root / "package.json") or "{}").get("scripts", {})
        for name in ("dev", "start"):
            if name in scripts:
                service = "web" if "web" not in guess.services else "frontend"
                reason = f"the script `{name}` of package.json"
                command, watch = ("npm", "run", name), _SCRIPTS if name == "start" else ()
                keys = server(command, port=guess.next_port(), watch=watch)
                return guess.add(service, reason, **keys)
    return None


def _dockerfile(guess: Guess) -> None:
    text = text_of(guess.root / "Dockerfile")
    composed = any(one.keys.get("folder") == "" for one in guess.services.values())
    if not text or composed or "web" in guess.services:
        return
    exposed = re.search(r"^EXPOSE\s+(\d+)", text, re.MULTILINE | re.IGNORECASE)
    inside = exposed[1] if exposed else "8080"
    script = (
        f"exec docker run --rm --init --env PORT={inside} "
        f'--publish "{{host}}:{{port}}:{inside}" "$(docker build --quiet .)"'
    )
    guess.add("web", "the Dockerfile, which is built at each start", **server(("sh", "-c", script)))


def _backing(guess: Guess) -> None:
    """Add database and cloud if the packages of the project are made for them; wire all of it."""
    folders = {service.keys.get("folder", "") for service in guess.services.values()}
    files = (
        path
        for folder in sorted({"", *folders})
        for pattern in _DEPENDENCIES
        for path in (guess.root / folder).glob(pattern)
    )
    wanted = "\n".join(text_of(path) for path in files)
    if _POSTGRES.search(wanted):
        guess.add("postgres", "a driver of PostgreSQL among the packages")
    if _GOOGLE.search(wanted):
        guess.add("gcp", "clients of Google Cloud among the packages")
    for name, service in guess.services.items():
        if service.keys.get("command") and "image" not in service.keys:
            _wire(guess, service, is_web=name == "web" or bool(service.keys.get("port")))


def _wire(guess: Guess, service: GuessedService, *, is_web: bool) -> None:
    needs = list(service.keys.pop("needs", ()))
    if "postgres" in guess.services:
        env = service.keys.get("env") or {}
        service.keys["env"] = {"DATABASE_URL": "{postgres.url}"} | env
        needs += ["postgres"]
    if "gcp" in guess.services:
        service.keys["account"] = "web"
        needs += ["gcp"]
        if is_web:
            service.keys["url"] = "public"
    needs += [name for name in ("mail", "release") if name in guess.services and is_web]
    service.keys["needs"] = list(dict.fromkeys(needs))


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
# [profiles.NAME.services.web]          what differs with `devenv up --mode NAME`; without, this file
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
    lines += [f"    {reason}" for reason in found.reasons]
    if found.left_out:
        lines += ["", "  Left out:", "", *(f"    {reason}" for reason in found.left_out)]
    data = {"file": str(file), "guesses": found.reasons, "left_out": found.left_out}
    output.result(data, "\n".join([*lines, ""]))
    return 0
