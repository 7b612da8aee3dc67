"""Forms of passkeys that refuse every text that is no JSON: allauth's fail at long numbers and deep lists.

They are named in MFA_FORMS, and apart because they import the library of passkeys.
"""

import json
from typing import Any

from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)


class CredentialDecoder(json.JSONDecoder):
    """Decoder with one kind of error, the one that Django's JSONField takes for invalid input."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(type(error).__name__, s[:100], 0) from None


class CheckedCredential:
    """Mixin of forms with a credential."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields: dict[str, Any]
        self.fields["credential"].decoder = CredentialDecoder


class AddPasskeyForm(CheckedCredential, AddWebAuthnForm):  # type: ignore[misc]
    """A new passkey."""


class LoginPasskeyForm(CheckedCredential, LoginWebAuthnForm):  # type: ignore[misc]
    """Sign-in with a passkey."""


class ReauthenticatePasskeyForm(CheckedCredential, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """Confirmation with a passkey."""
