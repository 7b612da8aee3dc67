"""Environment of the product's processes, one way per mode.

The names of the variables are a contract with config/env.py.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from devenv.config import Config
from devenv.environment import developer, machine, wants_debug
from devenv.gcp.tables import ConfigError
from devenv.secrets import Secrets
from devenv.stack.problems import StackError
from devenv.tunnel import published

MODES = ("emulated", "mock", "local", "tunnel")
JOBS = ("process", "docker")
INVOKER = "roles/run.invoker"
# Name of the host in containers, the same on every platform.
_HOST_OF_CONTAINERS = "host.docker.internal"


@dataclass(frozen=True, slots=True)
class Product:
    """The product in one mode; `config` has the ports that the stack has taken.

    `debug` are the ports of processes that listen for a debugger.
    """

    config: Config
    secrets: Secrets
    mode: str = "emulated"
    jobs: str = "process"
    debug: Mapping[str, int] = field(default_factory=dict)

    demo_email = "demo@validibot.local"

    @property
    def has_cloud(self) -> bool:
        """Whether the stack has the emulated cloud."""
        return self.mode == "emulated"

    @property
    def has_queue(self) -> bool:
        """Whether tasks are queued in the database, for worker processes of the product."""
        return self.mode == "local"

    @property
    def has_tunnel(self) -> bool:
        """Whether the cloud is Google's own and calls back through a tunnel."""
        return self.mode == "tunnel"

    @property
    def has_bridge(self) -> bool:
        """Whether validators are containers, which cannot reach this machine's localhost."""
        return self.mode == "local" and self.jobs == "docker"

    @property
    def owner(self) -> str:
        """The label of this folder's containers on the engine."""
        return f"local-{hashlib.sha256(str(self.config.state).encode()).hexdigest()[:12]}"

    @property
    def site_url(self) -> str:
        return f"http://localhost:{self.config.ports.web}"

    @property
    def worker_url(self) -> str:
        if self.has_cloud:
            return self.config.cloud.service_url(self._worker)
        if self.has_tunnel:
            return self._tunnel_url
        host = _HOST_OF_CONTAINERS if self.has_bridge else "localhost"
        return f"http://{host}:{self.config.ports.worker}"

    @property
    def database_url(self) -> str:
        if self.config.external.postgres:
            return self.config.external.postgres
        password, port = self.secrets.postgres_password, self.config.ports.postgres
        return f"postgres://validibot:{password}@127.0.0.1:{port}/validibot"

    @property
    def smtp_url(self) -> str:
        return self.config.external.smtp or f"smtp://127.0.0.1:{self.config.ports.smtp}"

    @property
    def mail_url(self) -> str:
        """The page of received mails."""
        return self.config.external.mail or f"http://localhost:{self.config.ports.mail}"

    @property
    def _worker(self) -> str:
        return self.config.cloud_service(self.config.ports.worker).name

    def environ(self, role: str) -> dict[str, str]:
        """Return the whole environment of a process that is `web` or `worker`."""
        own = developer() if self.has_tunnel else machine()
        return own | self.variables(role)

    def variables(self, role: str) -> dict[str, str]:
        """Return the variables that are added to the user's environment."""
        if self.has_tunnel:
            return self._common(role) | self._real_cloud()
        return self._common(role) | (self._cloud(role) if self.has_cloud else self._local())

    def _common(self, role: str) -> dict[str, str]:
        ports, smtp = self.config.ports, urlsplit(self.smtp_url)
        return {
            "PYTHONUNBUFFERED": "1",
            "APP_ROLE": role,
            "DJANGO_SECRET_KEY": self.secrets.django_secret_key,
            "API_KEY_PEPPER": self.secrets.api_key_pepper,
            "DATABASE_URL": self.database_url,
            "SITE_URL": self.site_url,
            "WORKER_URL": self.worker_url,
            "ALLOWED_HOSTS": "localhost,127.0.0.1,.run.app",
            # Browsers and clients reach this port without a proxy.
            "TRUSTED_PROXY_COUNT": "0",
            "CSRF_TRUSTED_ORIGINS": f"{self.site_url},http://127.0.0.1:{ports.web}",
            "EMAIL_HOST": str(smtp.hostname),
            "EMAIL_PORT": str(smtp.port),
            "DEMO_EMAIL": self.demo_email,
            "DEMO_PASSWORD": self.secrets.demo_password,
            "DEMO_API_KEY": self.secrets.demo_api_key,
            "SEED_FILE": str(self.config.seed_file),
        }

    @property
    def _local_backend(self) -> str:
        if self.mode == "mock":
            return "mock"
        return "subprocess" if self.jobs == "process" else self.jobs

    def _local(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "config.settings.local",
            "EXECUTION_BACKEND": self._local_backend,
            "TASK_QUEUE": "database" if self.has_queue else "immediate",
            "DATA_ROOT": f"file://{self.config.state / 'media'}",
        } | (self._bridge() if self.has_bridge else {})

    def _bridge(self) -> dict[str, str]:
        return {
            "ALLOWED_HOSTS": f"localhost,127.0.0.1,{_HOST_OF_CONTAINERS}",
            "CONTAINERS_OWNER": self.owner,
        }

    def _cloud(self, role: str) -> dict[str, str]:
        cloud = self.config.cloud
        callers = (
            cloud.email(binding.member)
            for binding in cloud.bindings
            if binding.role == INVOKER and binding.resource == f"service/{self._worker}"
        )
        return {
            **_CLOUD_WIRING,
            "DEBUG": wants_debug(),
            "GOOGLE_CLOUD_PROJECT": cloud.project,
            "GCP_REGION": cloud.region,
            "GCS_BUCKET": _first(cloud.buckets, "buckets"),
            "CLOUD_TASKS_QUEUE": _first(cloud.queues, "queues").name,
            "CLOUD_TASKS_SERVICE_ACCOUNT": cloud.email("tasks"),
            "CAPABILITY_ACCOUNT": cloud.email("capability"),
            "SCHEDULER_ACCOUNT": cloud.email(_first(cloud.schedules, "schedules").account),
            "ALLOWED_CALLERS": ",".join(callers),
        } | identity(self.config, role)

    def _real_cloud(self) -> dict[str, str]:
        """Return the variables for Google's own cloud, which web and worker use as the developer."""
        tunnel = self.config.need_tunnel()
        return {
            **_CLOUD_WIRING,
            "DEBUG": wants_debug(),
            "GOOGLE_CLOUD_PROJECT": tunnel.project,
            "GCP_REGION": tunnel.region,
            "GCS_BUCKET": tunnel.bucket,
            "CLOUD_TASKS_QUEUE": tunnel.queue,
            "CLOUD_TASKS_SERVICE_ACCOUNT": tunnel.tasks_account,
            "CAPABILITY_ACCOUNT": tunnel.capability_account,
            "SCHEDULER_ACCOUNT": tunnel.scheduler_account,
            "ALLOWED_CALLERS": ",".join(tunnel.callers),
            "ALLOWED_HOSTS": f"localhost,127.0.0.1,{urlsplit(self.worker_url).hostname}",
        }

    @property
    def _tunnel_url(self) -> str:
        found = published.read(published.file_in(self.config.state))
        if found is None:
            raise StackError("The tunnel is not open.", hint="make logs S=tunnel")
        return found.url


def _first[T](declared: Sequence[T], name: str) -> T:
    """Return the first of the declared resources. Raises ConfigError if there is none."""
    if not declared:
        raise ConfigError(
            f"gcp.{name} is empty; the product uses the first one. Declare one, or MODE=local.",
            key=("gcp",),
        )
    return declared[0]


# As in production: errors are pages and log lines. `DEBUG=1 make up` shows tracebacks.
_CLOUD_WIRING = {
    "DJANGO_SETTINGS_MODULE": "config.settings.cloud",
    "WHITENOISE_USE_FINDERS": "1",
    # Google's own switch: without it the client reads a bucket's metadata to label traces, which the
    # accounts may not.
    "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
}


def identity(config: Config, account: str) -> dict[str, str]:
    """Return the variables that lead Google's clients to the emulated cloud as `account`.

    The emulated cloud writes them when it starts; they stay the same over its restarts.
    """
    endpoints = json.loads((config.state / "gcp" / "endpoints.json").read_text())
    environ: dict[str, str] = endpoints["environ"][account]
    return environ
