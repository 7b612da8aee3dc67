"""What every deployment has in common that is reached from outside: TLS only, nothing for developers."""

from config.settings.base import APP_ROLE, STORAGES

DEBUG = False
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# The worker has no pages to frame and no cookies to forge a request with.
SILENCED_SYSTEM_CHECKS = ["security.W002", "security.W003"] if APP_ROLE == "worker" else []
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
}
