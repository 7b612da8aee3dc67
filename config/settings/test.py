"""Settings of the test suite: everything in one process."""

import tempfile
from pathlib import Path

from config.settings import database_queue
from config.settings.base import *

SECRET_KEY = "test"
API_KEY_PEPPER = "test"
ALLOWED_HOSTS = ["*"]
DATA_ROOT = f"file://{Path(tempfile.mkdtemp(prefix='validibot-test-'))}"
STORAGES["default"] = media_storage(DATA_ROOT, MEDIA_URL)
WORKER_AUTH = "validibot.worker.views.nonce_only"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Test transactions live on one connection; a pool would outlive the test database.
DATABASES["default"]["OPTIONS"] = {}
INSTALLED_APPS = [*INSTALLED_APPS, *database_queue.APPS]
EXECUTION_BACKENDS = {
    "default": {
        "BACKEND": "validibot.runs.backends.mock.MockBackend",
        "OPTIONS": {"allow_without_debug": True},
    }
}
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
# Its client is not called before a test says what it answers.
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "sso",
                "name": "Example",
                "client_id": "client",
                "secret": "secret",
                "settings": {"server_url": "https://id.example.org", "oauth_pkce_enabled": True},
            }
        ]
    }
}
INSTALLED_APPS = [*INSTALLED_APPS, "allauth.socialaccount.providers.openid_connect"]
# Nothing is collected for tests, and a missing folder would be a warning.
WHITENOISE_AUTOREFRESH = True
# Its query, once a second, would fall into the counts of any test; its own tests install it.
MIDDLEWARE = [name for name in MIDDLEWARE if name != MAINTENANCE_MIDDLEWARE]
