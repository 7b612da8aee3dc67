"""One host, or a platform that runs a Procfile: the queue is the database, validators run here.

TLS ends at a proxy that says so in X-Forwarded-Proto and lets nobody else say it.
"""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.env import choice, env, expect, require
from config.settings import database_queue
from config.settings.base import *
from config.settings.error_reports import SENTRY_DSN
from config.settings.hardened import *
from config.settings.mail import *

_NETWORK = choice("CONTAINER_NETWORK", ("none", "callback", "open"), default="none")
if _NETWORK != "none":
    expect("WORKER_API_KEY")
# These have defaults in `base`, for a developer's machine only.
require(
    "ALLOWED_HOSTS",
    "API_KEY_PEPPER",
    "DATABASE_URL",
    "DATA_ROOT",
    "DEFAULT_FROM_EMAIL",
    "DJANGO_SECRET_KEY",
    "SITE_URL",
)

# The URL of a platform's database is the platform's: nothing can be added to it.
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DATABASES["default"]["OPTIONS"] = {
    "sslmode": choice("DATABASE_SSLMODE", _SSL_MODES, default="prefer"),
    **DATABASES["default"]["OPTIONS"],
}

INSTALLED_APPS = [*INSTALLED_APPS, *database_queue.APPS]
TASKS = database_queue.TASKS

# Containers that may call back do so at the only door of the worker's that the web process has.
WORKER_URL = env.str("WORKER_URL", default="").rstrip("/") or SITE_URL
WORKER_API_KEY = env.str("WORKER_API_KEY", default="")
WORKER_AUTH = "validibot.worker.views.worker_key"
# On the way from a container to its own host there is no proxy, and no TLS.
SECURE_REDIRECT_EXEMPT = ["^internal/callbacks/$"] if WORKER_URL.startswith("http:") else []

_SENTRY = {"SENTRY_DSN": SENTRY_DSN} if SENTRY_DSN else {}
_GOOGLE_KEY = env.str("GOOGLE_APPLICATION_CREDENTIALS", default="")
_MAY_SHARE = env.bool("ALLOW_SUBPROCESS", default=False)
_CHOSEN = choice("EXECUTION_BACKEND", ("docker", "subprocess"), default="docker")
# A check would come too late for a server that runs no checks.
if _CHOSEN == "subprocess" and not _MAY_SHARE:
    raise ImproperlyConfigured(
        "EXECUTION_BACKEND=subprocess runs the models that people send as the user of the worker:"
        " they may read and change whatever it may. Set ALLOW_SUBPROCESS=1 if you would trust each"
        " of these people with a shell, or set EXECUTION_BACKEND=docker."
    )
_BACKENDS: dict[str, dict[str, Any]] = {
    "docker": {
        "BACKEND": "validibot.runs.backends.docker.DockerBackend",
        "OPTIONS": {
            "allow_without_debug": True,
            "network": _NETWORK,
            "environ": ({"WORKER_API_KEY": WORKER_API_KEY} if _NETWORK != "none" else {})
            | (_SENTRY if _NETWORK == "open" else {}),
        },
    },
    "subprocess": {
        "BACKEND": "validibot.runs.backends.subprocess.SubprocessBackend",
        "OPTIONS": {
            "allow_without_debug": _MAY_SHARE,
            "validators_dir": str(VALIDATORS_DIR),
            "environ": _SENTRY
            | ({"GOOGLE_APPLICATION_CREDENTIALS": _GOOGLE_KEY} if _GOOGLE_KEY else {}),
        },
    },
}
EXECUTION_BACKENDS = {"default": _BACKENDS[_CHOSEN]}

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
if APP_ROLE == "web":
    ROOT_URLCONF = "config.urls_host"
