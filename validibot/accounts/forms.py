"""Forms of django-allauth that the product extends."""

import secrets
from typing import Any

from allauth.account.forms import SignupForm
from allauth.account.models import EmailAddress
from django.db import transaction
from django.http import HttpRequest

from validibot.accounts.models import User
from validibot.accounts.workspaces import ensure_personal_workspace


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
