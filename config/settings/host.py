"""One host, or a platform that runs a Procfile: the queue is the database, validators run here.

TLS ends at a proxy that says so in X-Forwarded-Proto and lets nobody else say it.
"""

from config.env import choice, require
from config.settings import database_queue
from config.settings.base import *
from config.settings.hardened import *

# What `base` has a value for on a developer's machine must be told here.
require(
    "ALLOWED_HOSTS",
    "API_KEY_PEPPER",
    "DATABASE_URL",
    "DATA_ROOT",
    "DJANGO_SECRET_KEY",
    "SITE_URL",
    "WORKER_URL",
)

INSTALLED_APPS = [*INSTALLED_APPS, *database_queue.APPS]
TASKS = database_queue.TASKS
WORKER_AUTH = "validibot.worker.auth.nonce_only"
_BACKENDS = {
    "docker": {
        "BACKEND": "validibot.runs.backends.docker.DockerBackend",
        "OPTIONS": {"allow_without_debug": True},
    },
    "subprocess": {
        "BACKEND": "validibot.runs.backends.subprocess.SubprocessBackend",
        "OPTIONS": {"allow_without_debug": True, "validators_dir": str(VALIDATORS_DIR)},
    },
}
EXECUTION_BACKENDS = {
    "default": _BACKENDS[choice("EXECUTION_BACKEND", tuple(_BACKENDS), default="docker")]
}
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ALLAUTH_TRUSTED_PROXY_COUNT = 1
