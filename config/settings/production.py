"""Google Cloud in production: the settings of `cloud`, hardened, with mail by Postmark."""

from config.env import env, expect

expect("POSTMARK_SERVER_TOKEN")  # before `cloud` reports the variables that are missing

from config.settings.cloud import *  # noqa: E402
from config.settings.hardened import *  # noqa: E402

MAILERS = {
    "default": {
        "BACKEND": "anymail.backends.postmark.EmailBackend",
        "OPTIONS": {"server_token": env.str("POSTMARK_SERVER_TOKEN")},
    }
}
