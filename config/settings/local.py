"""One machine without any cloud, for development: tasks run in place or wait in the database."""

from config.env import choice, env
from config.settings import database_queue
from config.settings.base import *

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = SECRET_KEY or "local-only"
API_KEY_PEPPER = API_KEY_PEPPER or "local-only"
ALLOWED_HOSTS = ALLOWED_HOSTS or ["localhost", "127.0.0.1"]
WORKER_AUTH = "validibot.worker.auth.nonce_only"

if choice("TASK_QUEUE", ("immediate", "database"), default="immediate") == "database":
    TASKS = database_queue.TASKS
    INSTALLED_APPS = [*INSTALLED_APPS, *database_queue.APPS]
else:
    TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
_BACKENDS = {
    "mock": "validibot.runs.backends.mock.MockBackend",
    "subprocess": "validibot.runs.backends.subprocess.SubprocessBackend",
}
EXECUTION_BACKENDS = {
    "default": {
        "BACKEND": _BACKENDS[choice("EXECUTION_BACKEND", tuple(_BACKENDS), default="mock")],
        "OPTIONS": {
            "validators_dir": str(VALIDATORS_DIR),
            "scenario": env.str("MOCK_SCENARIO", default=""),
        },
    }
}
