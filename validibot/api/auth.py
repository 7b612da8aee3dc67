"""Who calls: an API key as `Authorization: Bearer`, or the browser's session."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from validibot.accounts import api_keys
from validibot.accounts.models import User


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer vbk_1_…`; anything else in the header is left to others."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        user = api_keys.authenticate(text.strip())
        if user is None:
            raise AuthenticationFailed(
                "This API key is unknown, expired or revoked. Make one at /app/users/api-key/."
            )
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="validibot"'
