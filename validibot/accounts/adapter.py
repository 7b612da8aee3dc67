"""Adapter for django-allauth: sign-up, account mail and limits on sign-in."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest

from validibot.accounts.models import User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.core.throttle import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Gives every new user a personal workspace and sends mail in the name of the product."""

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        saved: User = super().save_user(request, user, form, commit)
        if commit:
            ensure_personal_workspace(saved)
        return saved

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        site = {"name": "Validibot", "domain": settings.SITE_URL}
        super().send_mail(template_prefix, email, context | {"current_site": site})

    def send_account_already_exists_mail(self, email: str) -> None:
        """Hash a password as a new account would: the time must not reveal who is registered."""
        make_password("not kept")
        super().send_account_already_exists_mail(email)

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords per account and address, so that nobody locks out the owner."""
        account = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{account}:{client_address(request)}"
