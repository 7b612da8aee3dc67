"""Google Cloud in production: what `cloud` says, hardened, with mail by Postmark."""

from config.env import env, require
from config.settings.cloud import *

require("POSTMARK_SERVER_TOKEN")
DEBUG = False
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# The worker has no pages to frame and no cookies to forge a request with.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003"] if APP_ROLE == "worker" else []
STORAGES["staticfiles"] = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
MAILERS = {
    "default": {
        "BACKEND": "anymail.backends.postmark.EmailBackend",
        "OPTIONS": {"server_token": env.str("POSTMARK_SERVER_TOKEN")},
    }
}
