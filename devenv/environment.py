"""The environment: the only place in the devenv that reads it, and where that of services is made.

The names that the product gets are a contract with config/env.py.
"""

import json
import os
import secrets
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from devenv.config import Config

_FOREIGN = ("CLOUDSDK_", "DJANGO_", "GCE_METADATA_", "GOOGLE_", "GRPC_", "PG", "STORAGE_EMULATOR_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "ftp_proxy")
INVOKER = "roles/run.invoker"


def machine() -> dict[str, str]:
    """Return the user's environment without what would lead our services elsewhere."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }
    programs = Path(sys.executable).parent
    environ["PATH"] = f"{programs}{os.pathsep}{environ.get('PATH', os.defpath)}"
    return environ


def foreign_credentials() -> list[str]:
    """Name what is set in the user's environment and speaks to the real Google Cloud."""
    names = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "CLOUDSDK_AUTH_ACCESS_TOKEN")
    return [name for name in names if os.environ.get(name)]


def proxies() -> list[str]:
    """Name the proxy variables of the user's environment that do not spare localhost."""
    spared = os.environ.get("no_proxy", "") + os.environ.get("NO_PROXY", "")
    if "localhost" in spared or spared.strip() == "*":
        return []
    return [name for name in ("http_proxy", "HTTP_PROXY") if os.environ.get(name)]


def wants_colour(*, terminal: bool) -> bool:
    """Obey NO_COLOR and FORCE_COLOR (no-color.org, force-color.org) and TERM=dumb."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def wants_mock() -> bool:
    """Say whether MOCK_VALIDATORS asks for the mode without an emulated cloud."""
    return os.environ.get("MOCK_VALIDATORS", "").lower() in ("1", "true", "yes")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once per folder, kept in a file that only its owner reads, deleted by `make reset`."""

    postgres_password: str
    django_secret_key: str
    api_key_pepper: str
    demo_password: str
    demo_api_key: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file, or make it. One that lacks a line gets that line anew."""
        found = _parse(path.read_text()) if path.exists() else {}
        names = [field.name for field in fields(cls)]
        values = {name: found.get(name.upper()) or _new(name) for name in names}
        text = "".join(f"{name.upper()}={value}\n" for name, value in values.items())
        if not path.exists() or path.read_text() != text:
            _write_privately(path, text)
        return cls(**values)


def _new(name: str) -> str:
    if name == "demo_password":
        return "-".join(secrets.token_hex(2) for _ in range(3))
    if name == "demo_api_key":  # the product takes keys of this form only
        return f"vbk_1_{secrets.token_hex(16)}_{secrets.token_hex(32)}"
    return secrets.token_urlsafe(30)


def _parse(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _write_privately(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


@dataclass(frozen=True, slots=True)
class Product:
    """What the product is told about the place where it runs; `config` is on the ports taken."""

    config: Config
    secrets: Secrets
    mock: bool = False

    demo_email = "demo@validibot.local"

    @property
    def site_url(self) -> str:
        return f"http://localhost:{self.config.ports.web}"

    @property
    def worker_url(self) -> str:
        if self.mock:
            return f"http://localhost:{self.config.ports.worker}"
        return self.config.cloud.service_url(self._worker)

    @property
    def database_url(self) -> str:
        password, port = self.secrets.postgres_password, self.config.ports.postgres
        return f"postgres://validibot:{password}@127.0.0.1:{port}/validibot"

    @property
    def _worker(self) -> str:
        return self.config.cloud_service(self.config.ports.worker).name

    def environ(self, role: str) -> dict[str, str]:
        """Return the whole environment of a process that is `web` or `worker`."""
        return machine() | self.variables(role)

    def variables(self, role: str) -> dict[str, str]:
        """Return what distinguishes that environment from the user's own."""
        return self._common(role) | (self._local() if self.mock else self._cloud(role))

    def _common(self, role: str) -> dict[str, str]:
        ports = self.config.ports
        return {
            "PYTHONUNBUFFERED": "1",
            "APP_ROLE": role,
            "DJANGO_SECRET_KEY": self.secrets.django_secret_key,
            "API_KEY_PEPPER": self.secrets.api_key_pepper,
            "DATABASE_URL": self.database_url,
            "SITE_URL": self.site_url,
            "WORKER_URL": self.worker_url,
            "ALLOWED_HOSTS": "localhost,127.0.0.1,.run.app",
            "CSRF_TRUSTED_ORIGINS": f"{self.site_url},http://127.0.0.1:{ports.web}",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(ports.smtp),
            "DEMO_EMAIL": self.demo_email,
            "DEMO_PASSWORD": self.secrets.demo_password,
            "DEMO_API_KEY": self.secrets.demo_api_key,
            "SEED_FILE": str(self.config.seed_file),
        }

    def _local(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "config.settings.local",
            "EXECUTION_BACKEND": "mock",
            "DATA_ROOT": f"file://{self.config.state / 'media'}",
        }

    def _cloud(self, role: str) -> dict[str, str]:
        cloud = self.config.cloud
        callers = (
            cloud.email(binding.member)
            for binding in cloud.bindings
            if binding.role == INVOKER and binding.resource == f"service/{self._worker}"
        )
        return {
            "DJANGO_SETTINGS_MODULE": "config.settings.cloud",
            # As in production: errors are pages and log lines. `DEBUG=1 make up` shows tracebacks.
            "DEBUG": os.environ.get("DEBUG", "0"),
            "WHITENOISE_USE_FINDERS": "1",
            "GOOGLE_CLOUD_PROJECT": cloud.project,
            "GCP_REGION": cloud.region,
            "GCS_BUCKET": cloud.buckets[0],
            "CLOUD_TASKS_QUEUE": cloud.queues[0].name,
            "CLOUD_TASKS_SERVICE_ACCOUNT": cloud.email("tasks"),
            "SCHEDULER_ACCOUNT": cloud.email(cloud.schedules[0].account),
            "ALLOWED_CALLERS": ",".join(callers),
            # Google's own switch: no bucket is asked for its metadata just to label a trace.
            "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
        } | identity(self.config, role)


def identity(config: Config, account: str) -> dict[str, str]:
    """Return the variables that lead Google's clients to the emulated cloud as `account`.

    The emulated cloud writes them when it starts; they stay the same over its restarts.
    """
    endpoints = json.loads((config.state / "gcp" / "endpoints.json").read_text())
    environ: dict[str, str] = endpoints["environ"][account]
    return environ
