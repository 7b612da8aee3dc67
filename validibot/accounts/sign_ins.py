"""Sign-ins, passwords and second factors in the audit log of an account.

Django and django-allauth announce them by signals. A sign-in that names no account is recorded for the
site, without the address that was typed: it may be a password.
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.http import HttpRequest

from validibot.accounts import audit
from validibot.accounts.models import User
from validibot.core.origin import current_origin

_METHODS = "account_authentication_methods"  # of allauth's session


def connect() -> None:
    """Connect the receivers; where the service has no pages there is nothing of allauth's."""
    user_logged_in.connect(_on_sign_in, dispatch_uid="audit sign-in")
    user_login_failed.connect(_on_failure, dispatch_uid="audit failed sign-in")
    if not apps.is_installed("allauth.mfa"):
        return
    from allauth.account import signals as accounts  # noqa: PLC0415
    from allauth.mfa import signals as factors  # noqa: PLC0415

    for signal, action in (
        (accounts.password_changed, "password.changed"),
        (accounts.password_set, "password.set"),
        (accounts.password_reset, "password.reset"),
        (factors.authentication_failed, "second_factor.failed"),
        (factors.authenticator_added, "second_factor.added"),
        (factors.authenticator_removed, "second_factor.removed"),
        (factors.authenticator_reset, "second_factor.reset"),
    ):
        receiver = _receiver(action)
        signal.connect(receiver, weak=False, dispatch_uid=f"audit {action}")


def _receiver(action: str) -> Any:
    def receive(*, user: User, authenticator: Any = None, **_: Any) -> None:
        kind = {"type": (None, authenticator.type)} if authenticator else {}
        audit.record(None, action, user, kind, account=user)

    return receive


def _on_sign_in(*, request: HttpRequest, user: User, **_: Any) -> None:
    if not current_origin().request_id:  # a test or a command, which no person made
        return
    methods = [str(each.get("method")) for each in request.session.get(_METHODS, [])]
    changes = {"method": (None, ", ".join(methods))} if methods else {}
    audit.record(None, "sign_in.succeeded", user, changes, account=user)


def _on_failure(*, credentials: dict[str, Any], **_: Any) -> None:
    if not current_origin().request_id:
        return
    typed = str(credentials.get("email") or credentials.get("username") or "")[:254]
    user = User.objects.filter(email__iexact=typed).first() if "\0" not in typed else None
    audit.record(None, "sign_in.failed", user or "unknown account", account=user)
