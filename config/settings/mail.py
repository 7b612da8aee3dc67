"""Mail of a deployment: the provider whose key is set, else an SMTP server.

The API of Amazon SES needs boto3, which the extra `ses` brings: few sites use it, and it is large.
Credentials are found as boto3 finds them, such as AWS_ACCESS_KEY_ID.
"""

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.env import choice, env, expect

_POSTMARK_TOKEN = env.str("POSTMARK_SERVER_TOKEN", default="")
_MAILGUN_KEY = env.str("MAILGUN_API_KEY", default="")
_SES_REGION = env.str("AMAZON_SES_REGION", default="")
if _POSTMARK_TOKEN:
    pass
elif _MAILGUN_KEY:
    expect("MAILGUN_SENDER_DOMAIN")
elif not _SES_REGION:
    expect("EMAIL_HOST")
elif not find_spec("boto3"):
    raise ImproperlyConfigured(
        f"AMAZON_SES_REGION is {_SES_REGION!r}, but the package boto3 is missing, which the extra `ses` "
        "brings. Run `pip install --require-hashes -r requirements/ses.txt`, or build the image with "
        "`make image EXTRA=ses`."
    )

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
_SES = {
    "BACKEND": "anymail.backends.amazon_ses.EmailBackend",
    "OPTIONS": {"client_params": {"region_name": _SES_REGION}},
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
    "default": (_POSTMARK_TOKEN and _POSTMARK)
    or (_MAILGUN_KEY and _MAILGUN)
    or (_SES_REGION and _SES)
    or _SMTP
}
