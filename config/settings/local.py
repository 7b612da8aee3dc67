"""One machine without any cloud: tasks run in place, validators are mocked or child processes."""

from config.env import choice, env
from config.settings.base import *

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = SECRET_KEY or "local-only"
API_KEY_PEPPER = API_KEY_PEPPER or "local-only"
ALLOWED_HOSTS = ALLOWED_HOSTS or ["localhost", "127.0.0.1"]
WORKER_AUTH = "validibot.worker.auth.nonce_only"

TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
_BACKENDS = {
    "mock": "validibot.runs.backends.mock.MockBackend",
    "subprocess": "validibot.runs.backends.subprocess.SubprocessBackend",
}
EXECUTION_BACKENDS = {
    "default": {
        "BACKEND": _BACKENDS[choice("EXECUTION_BACKEND", tuple(_BACKENDS), default="mock")],
        "OPTIONS": {"validators_dir": str(VALIDATORS_DIR)},
    }
}
