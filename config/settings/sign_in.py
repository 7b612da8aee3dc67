"""Accounts: sign-up, sign-in, second factors, and sign-in by other providers.

A provider is offered as soon as its client is set; docs/production.md has the steps. All of them use
PKCE. Their accounts are linked to accounts here by addresses that the provider has verified, and a
second factor is asked for after them as after a password.
"""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from config.env import env

# Hosts with which TLS is not needed: those of this machine.
_LOCAL = ("localhost", "127.0.0.1", "::1")

ACCOUNT_ADAPTER = "validibot.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "validibot.accounts.adapter.EvenSignupForm"}
MFA_FORMS = {
    "add_webauthn": "validibot.accounts.passkey_forms.AddPasskeyForm",
    "login_webauthn": "validibot.accounts.passkey_forms.LoginPasskeyForm",
    "reauthenticate_webauthn": "validibot.accounts.passkey_forms.ReauthenticatePasskeyForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
# One address; another one takes its place when it is verified.
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
# The owner is told of each change to the ways to sign in.
ACCOUNT_EMAIL_NOTIFICATIONS = True

MFA_ADAPTER = "validibot.accounts.adapter.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Validibot"
MFA_TOTP_TOLERANCE = 1  # codes of the 30 seconds before and after: clocks of phones differ
# An account cannot be used before its address is verified, so the one address that may be unverified
# is the next one of its owner.
MFA_ALLOW_UNVERIFIED_EMAIL = True

USERSESSIONS_TRACK_ACTIVITY = True

SOCIALACCOUNT_ADAPTER = "validibot.accounts.adapter.SocialAccountAdapter"
SOCIALACCOUNT_FORMS = {"signup": "validibot.accounts.adapter.SocialSignupForm"}
SOCIALACCOUNT_EMAIL_AUTHENTICATION = env.bool("SIGN_IN_LINKS_ACCOUNTS", default=True)
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True

_APPS = "allauth.socialaccount.providers"
_SCOPES = {"google": ["profile", "email"], "github": ["read:user", "user:email"]}
_PAGES = {"google": "https://accounts.google.com", "github": "https://github.com"}


def _client(prefix: str) -> dict[str, str]:
    """Return the client of a provider, {} if it is not set. Raises ImproperlyConfigured for half."""
    names = [f"{prefix}_CLIENT_ID", f"{prefix}_CLIENT_SECRET"]
    values = [env.str(name, default="") for name in names]
    if any(values) and not all(values):
        missing = names[values.index("")]
        raise ImproperlyConfigured(f"Set {missing}, too: {prefix} needs both id and secret.")
    return {"client_id": values[0], "secret": values[1]} if all(values) else {}


def _openid_connect(server_url: str, name: str) -> dict[str, Any]:
    """Return the app of a provider at `server_url`. Raises ImproperlyConfigured."""
    client = _client("OIDC")
    if bool(client) != bool(server_url):
        raise ImproperlyConfigured(
            "OIDC_SERVER_URL, OIDC_CLIENT_ID and OIDC_CLIENT_SECRET are set together or not at all."
        )
    if not client:
        return {}
    url = urlsplit(server_url)
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOCAL):
        raise ImproperlyConfigured(
            f"OIDC_SERVER_URL is {server_url!r}; it must be an https:// address."
        )
    settings = {"server_url": server_url, "oauth_pkce_enabled": True}
    return {"provider_id": "sso", "name": name, **client, "settings": settings}


def _origin(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}"


SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}
SIGN_IN_APPS: list[str] = []
# Where the form of a sign-in button may lead: browsers follow no redirect of a form elsewhere.
SIGN_IN_ORIGINS: list[str] = env.list("SIGN_IN_ORIGINS", default=[])

for _name in ("google", "github"):
    if _app := _client(f"{_name.upper()}_OAUTH"):
        SOCIALACCOUNT_PROVIDERS[_name] = {
            "APPS": [_app],
            "SCOPE": _SCOPES[_name],
            "OAUTH_PKCE_ENABLED": True,
        }
        SIGN_IN_APPS.append(f"{_APPS}.{_name}")
        SIGN_IN_ORIGINS.append(_PAGES[_name])

_OIDC_SERVER_URL = env.str("OIDC_SERVER_URL", default="").rstrip("/")
_OIDC_NAME = env.str("OIDC_NAME", default="single sign-on")
if _oidc := _openid_connect(_OIDC_SERVER_URL, _OIDC_NAME):
    SOCIALACCOUNT_PROVIDERS["openid_connect"] = {"APPS": [_oidc]}
    SIGN_IN_APPS.append(f"{_APPS}.openid_connect")
    SIGN_IN_ORIGINS.append(_origin(_OIDC_SERVER_URL))
