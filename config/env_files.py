"""Commented templates of environment files, one for each kind of deployment, made from the settings.

python -m config.env_files host         # print one
python -m config.env_files --write      # write all of docs/environment again
python -m config.env_files --check      # exit with 1 if one of them is not current
"""

import argparse
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.env import BASE_DIR, Variable
from config.variables import MEANINGS, read

FOLDER = BASE_DIR / "docs" / "environment"
_WIDTH = 98
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
# Variables of the Procfile, with their meaning; their defaults are read there.
_PROCFILE = {
    "PORT": "Port on which `web` listens.",
    "WEB_HOST": "Address on which `web` listens; 127.0.0.1 behind a proxy on this machine.",
    "WEB_CONCURRENCY": "Server processes in one `web`.",
    "WEB_INTERFACE": "How `web` serves: asgi, or wsgi, with threads and pages that do not update themselves.",
    "WORKER_CONCURRENCY": "Tasks that one `worker` runs at the same time.",
    "WORKER_SHUTDOWN_SECONDS": "Seconds for running tasks to end after SIGTERM.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentKind:
    """A kind of deployment: its settings, values that it needs, and variables that somebody else sets."""

    title: str
    settings: str
    values: dict[str, str] = field(default_factory=dict)
    set_elsewhere: dict[str, str] = field(default_factory=dict)
    has_procfile: bool = True


_HEROKU = "the platform"
_DEPLOY = "`python -m deploy`"
KINDS = {
    "host": DeploymentKind(
        title="One host: a virtual machine or a server of yours",
        settings="host",
        values={
            "DATA_ROOT": "file:///srv/validibot/files",
            "DATABASE_URL": "postgres://validibot:PASSWORD@127.0.0.1:5432/validibot",
            "TRUSTED_PROXY_COUNT": "1",
            "WEB_HOST": "127.0.0.1",
        },
        set_elsewhere={"APP_ROLE": "the Procfile"},
    ),
    "heroku": DeploymentKind(
        title="Heroku, or another platform that runs a Procfile",
        settings="host",
        values={
            "ALLOWED_HOSTS": ".herokuapp.com",
            "DATA_ROOT": "gs://BUCKET",
            "DATABASE_SSLMODE": "require",
            "GOOGLE_APPLICATION_CREDENTIALS": "/app/key.json",
            "LOG_FORMAT": "logfmt",
            "TRUSTED_PROXY_COUNT": "1",
        },
        set_elsewhere={"APP_ROLE": "the Procfile", "DATABASE_URL": _HEROKU, "PORT": _HEROKU},
    ),
    "google-cloud": DeploymentKind(
        title="Google Cloud: the table [env] of a stage file, and its secrets",
        settings="production",
        set_elsewhere=dict.fromkeys(
            (
                "ALLOWED_CALLERS",
                "ALLOWED_HOSTS",
                "API_KEY_PEPPER",
                "APP_ROLE",
                "CAPABILITY_ACCOUNT",
                "CLOUD_TASKS_EXPORT_QUEUE",
                "CLOUD_TASKS_PROBE_QUEUE",
                "CLOUD_TASKS_QUEUE",
                "CLOUD_TASKS_SERVICE_ACCOUNT",
                "CLOUD_TASKS_WEBHOOK_QUEUE",
                "CUSTOM_VALIDATOR_ACCOUNT",
                "CUSTOM_VALIDATOR_SECRET_ACCOUNTS",
                "CUSTOM_VALIDATOR_SUBNETWORK",
                "DATABASE_URL",
                "DEPLOYED_SECRETS",
                "DJANGO_SECRET_KEY",
                "GCP_REGION",
                "GCS_BUCKET",
                "GCS_MEDIA_BUCKET",
                "GOOGLE_CLOUD_PROJECT",
                "MODAL_APP",
                "MODAL_CALLER_ACCOUNT",
                "MODAL_ENVIRONMENT",
                "SCHEDULER_ACCOUNT",
                "SITE_URL",
                "VALIDATOR_JOB_PREFIX",
                "WORKER_URL",
            ),
            _DEPLOY,
        ),
        has_procfile=False,
    ),
}


def template(name: str) -> str:
    """Return the template of a kind of deployment. Imports its settings."""
    kind = KINDS[name]
    variables = read(kind.settings)
    wanted = [each for each in variables if each.name not in kind.set_elsewhere]
    needed = [each for each in wanted if each.required or each.name in kind.values]
    others = [each for each in wanted if each not in needed]
    given = [each for each in variables if each.name in kind.set_elsewhere]
    lines = [
        f"# {kind.title}.",
        f"# Written by `python -m config.env_files --write` from config.settings.{kind.settings}.",
        *_section("To be set", needed, kind),
        *_section("With a default", others, kind),
    ]
    if kind.has_procfile:
        lines += _section("Of the Procfile", list(_of_procfile(kind)), kind)
    lines += ["", "# ---- Set by others", ""]
    for each in given:
        lines += _comment(f"{each.name}: set by {kind.set_elsewhere[each.name]}.")
    return "\n".join([*lines, ""])


def _section(title: str, variables: Sequence[Variable], kind: DeploymentKind) -> Iterator[str]:
    yield from ("", f"# ---- {title}")
    for each in variables:
        yield ""
        meaning = _LINK.sub(r"\1", MEANINGS.get(each.name) or _PROCFILE.get(each.name, ""))
        yield from _comment(f"{meaning} ({each.kind})" if each.kind else meaning)
        if each.name in kind.values:
            yield f"{each.name}={kind.values[each.name]}"
        elif each.required:
            yield f"{each.name}="
        else:
            yield f"#{each.name}={_text(each)}"


def _of_procfile(kind: DeploymentKind) -> Iterator[Variable]:
    """Yield the variables that the Procfile itself reads, with their defaults."""
    procfile = (BASE_DIR / "Procfile").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{(\w+):-(\w[\w.]*)\}", procfile))
    for name in _PROCFILE:
        if name not in kind.set_elsewhere:
            yield Variable(name, kind="", default=defaults[name])


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _text(variable: Variable) -> str:
    value = variable.default
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return ",".join(f"{key}={text}" for key, text in value.items())
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace(str(BASE_DIR), "/app")


def _made(name: str) -> str:
    """Return a template, made in a process of its own: settings can be imported once in each."""
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "config.env_files", name],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m config.env_files")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("kind", nargs="?", choices=sorted(KINDS))
    what.add_argument("--write", action="store_true", help="write all files again")
    what.add_argument("--check", action="store_true", help="fail if a file is not current")
    chosen = parser.parse_args(arguments)
    if chosen.kind:
        sys.stdout.write(template(chosen.kind))
        return 0
    files: dict[Path, str] = {FOLDER / f"{name}.env": _made(name) for name in KINDS}
    if chosen.write:
        FOLDER.mkdir(exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    old = [p.name for p, text in files.items() if not p.exists() or p.read_text("utf-8") != text]
    if old:
        sys.stderr.write(
            f"Not current: {', '.join(old)}. Run: python -m config.env_files --write\n"
        )
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
