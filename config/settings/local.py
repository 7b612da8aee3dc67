"""One machine without any cloud, for development: tasks run in place or wait in the database."""

from config.env import choice, env
from config.settings import database_queue
from config.settings.base import *

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = SECRET_KEY or "local-only"
API_KEY_PEPPER = API_KEY_PEPPER or "local-only"
ALLOWED_HOSTS = ALLOWED_HOSTS or ["localhost", "127.0.0.1"]
WORKER_AUTH = "validibot.worker.views.nonce_only"
WEBHOOKS_MAY_BE_LOCAL = True
# Static files are not collected on a developer's machine.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0

if choice("TASK_QUEUE", ("immediate", "database"), default="immediate") == "database":
    TASKS = database_queue.TASKS
    INSTALLED_APPS = [*INSTALLED_APPS, *database_queue.APPS]
# The owner of our containers, on an engine that others may use too.
_OWNER = env.str("CONTAINERS_OWNER", default="")
_BACKENDS = {
    "mock": {
        "BACKEND": "validibot.runs.backends.mock.MockBackend",
        "OPTIONS": {"scenario": env.str("MOCK_SCENARIO", default="")},
    },
    "subprocess": {
        "BACKEND": "validibot.runs.backends.subprocess.SubprocessBackend",
        "OPTIONS": {"validators_dir": str(VALIDATORS_DIR)},
    },
    "docker": {
        "BACKEND": "validibot.runs.backends.docker.DockerBackend",
        "OPTIONS": {"owner": _OWNER} if _OWNER else {},
    },
}
EXECUTION_BACKENDS = {
    "default": _BACKENDS[choice("EXECUTION_BACKEND", tuple(_BACKENDS), default="mock")]
}
