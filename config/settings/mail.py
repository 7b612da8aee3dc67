"""Mail of a deployment: the provider whose key is set, else an SMTP server.

Amazon SES is an SMTP server to us: its API would bring 80 MB of packages into the image.
"""

from typing import Any

from config.env import choice, env, expect

_POSTMARK_TOKEN = env.str("POSTMARK_SERVER_TOKEN", default="")
_MAILGUN_KEY = env.str("MAILGUN_API_KEY", default="")
if _MAILGUN_KEY and not _POSTMARK_TOKEN:
    expect("MAILGUN_SENDER_DOMAIN")
elif not _POSTMARK_TOKEN:
    expect("EMAIL_HOST")

_SECURITY = choice("EMAIL_SECURITY", ("starttls", "tls", "none"), default="starttls")
_POSTMARK = {
    "BACKEND": "anymail.backends.postmark.EmailBackend",
    "OPTIONS": {"server_token": _POSTMARK_TOKEN},
}
_MAILGUN = {
    "BACKEND": "anymail.backends.mailgun.EmailBackend",
    "OPTIONS": {
        "api_key": _MAILGUN_KEY,
        "sender_domain": env.str("MAILGUN_SENDER_DOMAIN", default=""),
        "api_url": env.str("MAILGUN_API_URL", default="https://api.mailgun.net/v3"),
    },
}
_SMTP = {
    "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    "OPTIONS": {
        "host": env.str("EMAIL_HOST", default=""),
        "port": env.int("EMAIL_PORT", default=587),
        "username": env.str("EMAIL_USER", default=""),
        "password": env.str("EMAIL_PASSWORD", default=""),
        "use_tls": _SECURITY == "starttls",
        "use_ssl": _SECURITY == "tls",
        "timeout": 20,
    },
}
MAILERS: dict[str, dict[str, Any]] = {
    "default": _POSTMARK if _POSTMARK_TOKEN else _MAILGUN if _MAILGUN_KEY else _SMTP
}
