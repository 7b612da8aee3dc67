"""Google Cloud in production: what `cloud` says, hardened, with mail by Postmark."""

from config.env import env, require
from config.settings.cloud import *
from config.settings.hardened import *

require("POSTMARK_SERVER_TOKEN")
MAILERS = {
    "default": {
        "BACKEND": "anymail.backends.postmark.EmailBackend",
        "OPTIONS": {"server_token": env.str("POSTMARK_SERVER_TOKEN")},
    }
}
