"""Authentication of API requests by API key, sent as `Authorization: Bearer`."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, Throttled
from rest_framework.request import Request

from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, User
from validibot.accounts.scope import Scope
from validibot.core.throttle import FailureLimit, client_address

# Valid keys are never throttled, whatever else comes from their address.
WRONG_KEYS = FailureLimit("wrong-api-keys", count=20, seconds=300)


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer vbk_1_…`; other schemes are left to other authenticators.

    `request.auth` is the user's scope in the organisation of the URL, for members; else the key.
    """

    def authenticate(self, request: Request) -> tuple[User, Scope | ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        organisation = request.parser_context["kwargs"].get("org", "")
        caller = api_keys.authenticate(text.strip(), organisation=organisation)
        if caller is None:
            raise _refusal(request)
        return caller.user, caller.scope or caller.key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="validibot"'


def _refusal(request: Request) -> APIException:
    wait = WRONG_KEYS.exceeded_after(client_address(request._request))  # noqa: SLF001
    if wait:
        return Throttled(wait, "Too many wrong API keys came from your address.")
    return AuthenticationFailed(
        "This API key is unknown, expired or revoked. Create one at /app/users/api-key/."
    )
