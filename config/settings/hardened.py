"""Settings of every deployment that is reached from outside: TLS only, nothing for developers."""

from config.env import env
from config.settings.base import APP_ROLE, STORAGES

DEBUG = False
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 31_536_000
# They bind every other name below the domain, for as long as browsers remember: a choice.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.bool("HSTS_PRELOAD", default=False)
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# The worker has no pages to frame and no cookies to forge a request with.
_WORKER_CHECKS = ["security.W002", "security.W003"] if APP_ROLE == "worker" else []
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", *_WORKER_CHECKS]  # HSTS, see above
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
}
