"""Adapter and form of django-allauth: sign-up, account mail and limits on sign-in.

Neither the answers to sign-up and password reset nor their time tell who is registered: mail is sent
by a background task, and a sign-up with a known address does the work of a new account.
"""

import secrets
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import SignupForm
from allauth.account.models import EmailAddress
from allauth.core import context as allauth_context
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from validibot.accounts.models import User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.core.mail import send_later
from validibot.core.throttle import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Gives every new user a personal workspace and sends mail in the name of the product."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        saved: User = super().save_user(request, user, form, commit)
        if commit:
            ensure_personal_workspace(saved)
        return saved

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Render an account mail; a background task sends it."""
        shared = {
            "request": allauth_context.request,
            "email": email,
            "current_site": {"name": "Validibot", "domain": settings.SITE_URL},
        }
        send_later(self.render_mail(template_prefix, email, context | shared))

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords per account and address, so that nobody locks out the owner."""
        account = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{account}:{client_address(request)}"


class EvenSignupForm(SignupForm):  # type: ignore[misc]
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
