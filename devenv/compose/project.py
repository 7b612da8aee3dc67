"""The compose project of a folder, through Docker's own command.

Its name is unique per folder unless COMPOSE_PROJECT_NAME gives one. Compose labels containers with
the folder that started them: a project whose label names another folder is never touched.
"""

import hashlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from devenv.environment import developer
from devenv.stack.problems import StackError

FILE = "docker-compose.local.yml"
# The variable of each published port, and the port without it.
PUBLISHED = {
    "web": ("WEB_PORT", 8000),
    "mail": ("MAIL_PORT", 8025),
    "postgres": ("POSTGRES_PORT", 5432),
    "gcp": ("GCP_PORT", 4588),
    "console": ("CONSOLE_PORT", 8090),
}
_OLDEST = (2, 20)  # the first that knows `depends_on: required`
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PROJECT = "com.docker.compose.project"
_FOLDER = "com.docker.compose.project.working_dir"
_SERVICE = "com.docker.compose.service"


@dataclass(frozen=True, slots=True, order=True)
class ComposeContainer:
    """A container of the project; `state` is in the words of our own supervisor."""

    service: str
    state: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line of `docker ps`: service, state, and a text such as "Up 3 s (healthy)"."""
        service, state, text = line.split("\t")
        told = re.search(r"\(([^)]*)\)", text)
        inside = told[1] if told else ""
        if state == "exited":
            return cls(service, "done" if inside == "0" else "failed")
        return cls(service, {"health: starting": "starting"}.get(inside, inside) or state)

    @property
    def runs(self) -> bool:
        return self.state not in ("created", "done", "failed", "dead")


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A compose project. `ports` are those of this machine; unnamed ones are the usual ones."""

    root: Path
    name: str
    ports: Mapping[str, int] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [
            *("docker", "compose", "--ansi", "never"),
            *("--file", str(self.root / FILE), "--project-name", self.name),
            *arguments,
        ]

    def environ(self) -> dict[str, str]:
        environ = developer()
        if _CERTIFICATES.exists():
            environ.setdefault("SSL_CERT_FILE", str(_CERTIFICATES))
        host = environ.get("DOCKER_HOST", "")
        if host.startswith("unix://"):
            environ.setdefault("DOCKER_SOCKET", host.removeprefix("unix://"))
        environ["COMPOSE_PROJECT_NAME"] = self.name
        return environ | {PUBLISHED[name][0]: str(port) for name, port in self.ports.items()}

    def run(self, *arguments: str) -> str:
        """Run `docker compose` to its end; return what it printed. Raises StackError."""
        done = self._run(self.command(*arguments))
        if done.returncode:
            raise StackError(
                f"docker compose {arguments[0]} failed: {_last_line(done.stderr)}",
                hint=f"docker compose -f {FILE} {arguments[0]}",
            )
        return done.stdout

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `docker compose` out of reach of the terminal's Ctrl-C."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
            **options,
        )

    def containers(self) -> list[ComposeContainer]:
        """Return the project's containers, ended ones too."""
        fields = f'{{{{.Label "{_SERVICE}"}}}}\t{{{{.State}}}}\t{{{{.Status}}}}'
        return sorted(ComposeContainer.parse(line) for line in self._list(fields))

    def inside(self, service: str, *command: str) -> str:
        """Return what a command prints in the container of a service. Raises StackError."""
        return self.run("exec", "--no-TTY", service, *command)

    def missing(self, images: Sequence[str]) -> list[str]:
        """Return those of the images that the engine does not have."""
        ask = ("docker", "image", "inspect", "--format", ".")
        return [image for image in images if self._run([*ask, image]).returncode]

    def check(self) -> None:
        """Raise StackError unless this machine has what compose needs."""
        if shutil.which("docker") is None:
            raise StackError("RUNTIME=docker needs Docker.", hint="make up, which needs none")
        engine = self._run(["docker", "info", "--format", "{{.ServerVersion}}"])
        if engine.returncode:
            raise StackError(
                f"Docker's engine does not answer: {_last_line(engine.stderr)}",
                hint="start it, then make up RUNTIME=docker; make up needs none",
            )
        version = self._run(["docker", "compose", "version", "--short"])
        if version.returncode or _version(version.stdout) < _OLDEST:
            wanted = ".".join(str(number) for number in _OLDEST)
            raise StackError(
                f"RUNTIME=docker needs Docker's plugin compose, {wanted} or newer.",
                hint="install docker-compose-plugin",
            )

    def other_folder(self) -> str:
        """Return the folder that started the project's containers, "" if it is ours or nobody's."""
        others = set(self._list(f'{{{{.Label "{_FOLDER}"}}}}')) - {str(self.root)}
        return min(others, default="")

    def has_data(self) -> bool:
        """Return whether the project has a volume."""
        return not self._run(["docker", "volume", "inspect", f"{self.name}_state"]).returncode

    def require_own(self) -> None:
        """Raise StackError if another folder has started the project."""
        if other := self.other_folder():
            raise StackError(
                f"The compose project {self.name} belongs to {other}. Nothing was done.",
                hint=f"cd {shlex.quote(other)}, or COMPOSE_PROJECT_NAME=another-name make up "
                "RUNTIME=docker",
            )

    def _list(self, fields: str) -> list[str]:
        # Not `docker compose ps`: it asks twice, and fails if a container went in between.
        project = f"label={_PROJECT}={self.name}"
        ask = ("docker", "ps", "--all", "--filter", project, "--format", fields)
        return self._run(ask).stdout.splitlines()

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


def project_name(root: Path) -> str:
    """Return the user's COMPOSE_PROJECT_NAME, else a name that no other folder has."""
    if given := developer().get("COMPOSE_PROJECT_NAME", ""):
        return given
    plain = re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-") or "devenv"
    return f"{plain}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


def is_given_name(name: str) -> bool:
    """Return whether the user chose the name, so that another folder may have it, too."""
    return name == developer().get("COMPOSE_PROJECT_NAME", "")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it said nothing"
