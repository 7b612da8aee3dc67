"""Google Cloud in production: what `cloud` says, hardened, with mail by Postmark."""

from config.env import env
from config.settings.cloud import *

DEBUG = False
SECURE_SSL_REDIRECT = APP_ROLE == "web"
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
STORAGES["staticfiles"] = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
MAILERS = {
    "default": {
        "BACKEND": "anymail.backends.postmark.EmailBackend",
        "OPTIONS": {"server_token": env.str("POSTMARK_SERVER_TOKEN")},
    }
}
