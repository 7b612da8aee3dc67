"""Adapters and forms of django-allauth: sign-up, account mail and limits on sign-in.

Neither the answers to sign-up and password reset nor their time tell who is registered: mail is sent
by a background task, and a sign-up with a known address does the work of a new account.
"""

import logging
import secrets
from typing import Any
from urllib.parse import urlencode

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import SignupForm
from allauth.account.models import EmailAddress
from allauth.core import context as allauth_context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.forms import SignupForm as BaseSocialSignupForm
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from validibot.accounts import second_factors, sign_up
from validibot.accounts.models import User
from validibot.accounts.profile import clean_name
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.core.mail import send_later
from validibot.core.throttle import client_address
from validibot.tracking.events import track
from validibot.tracking.models import EventName

logger = logging.getLogger(__name__)


def _welcome(user: User, method: str) -> None:
    """Give a new user a personal workspace; `method` is how the user signed up."""
    workspace = ensure_personal_workspace(user)
    track(EventName.SIGNED_UP, actor=user.pk, organisation=workspace.pk, method=method)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Gives every new user a personal workspace and sends mail in the name of the product."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return sign_up.is_open(request)

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        saved: User = super().save_user(request, user, form, commit)
        if commit:
            _welcome(saved, "form")
        return saved

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Render an account mail; a background task sends it."""
        shared = {
            "request": allauth_context.request,
            "email": email,
            "current_site": {"name": "Validibot", "domain": settings.SITE_URL},
        }
        send_later(self.render_mail(template_prefix, email, context | shared))

    def get_email_verification_redirect_url(self, email_address: EmailAddress) -> str:
        """Lead an invited user back to the invitation, through sign-in."""
        request = allauth_context.request
        path = sign_up.invitation_path(request, email_address.email)
        if not path:
            return str(super().get_email_verification_redirect_url(email_address))
        if request.user.is_authenticated:
            return path
        return f"{settings.LOGIN_URL}?{urlencode({'next': path})}"

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords per account and address, so that nobody locks out the owner."""
        account = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{account}:{client_address(request)}"


class SocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Sign-up by another provider, by the rules of sign-up by form."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        addresses = [each.email for each in sociallogin.email_addresses[:1]]
        if not addresses:  # the form that asks for one checks it
            return sign_up.is_open(request)
        return sign_up.is_open_for(request, addresses[0])

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        parts = (data.get("first_name"), data.get("last_name"))
        name = str(data.get("name") or " ".join(part for part in parts if part))
        user.name = clean_name(name)
        return user

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        _welcome(user, "provider")
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        logger.warning("sign-in by %s failed: %s %s", provider, error, exception or "")


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Encrypts what django-allauth stores: secrets of authenticator apps, seeds of recovery codes."""

    def encrypt(self, text: str) -> str:
        return second_factors.encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        return second_factors.decrypt(encrypted_text)


class InvitedSignup:
    """Part of a sign-up form: where an invitation is needed, only the invited address is taken."""

    def clean_email(self) -> str:
        email: str = super().clean_email()  # type: ignore[misc]
        request = allauth_context.request
        if not sign_up.is_open_for(request, email):
            invited = sign_up.invited_email(request)
            raise ValidationError(
                _("You were invited as %(invited)s. Sign up with that address."),
                params={"invited": invited},
            )
        return email


class SocialSignupForm(InvitedSignup, BaseSocialSignupForm):  # type: ignore[misc]
    """Sign-up form after a provider that told no address which could be used."""


class EvenSignupForm(InvitedSignup, SignupForm):  # type: ignore[misc]
    """Sign-up that takes the same time whether or not the address is registered.

    With a registered address, the work of a new account is done and undone. The mail to that address
    is no place for it: allauth sends it at most once in three minutes.
    """

    def try_save(self, request: HttpRequest) -> Any:
        if self.account_already_exists:
            with transaction.atomic():
                name = f"{secrets.token_hex(16)}@invalid"
                user = User.objects.create_user(name, secrets.token_hex(16))
                ensure_personal_workspace(user)
                EmailAddress.objects.create(user=user, email=name, primary=True)
                transaction.set_rollback(True)
        return super().try_save(request)
