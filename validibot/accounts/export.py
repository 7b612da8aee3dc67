"""Export of the data that an account consists of, as one JSON document.

Secrets are left out: of passwords, keys and second factors only their existence and dates are told.
"""

from collections.abc import Iterable
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.db.models import QuerySet

from validibot.accounts.models import User

# Rows of one kind in an export; a list that reaches it says so.
MAX_ROWS = 10_000


def account_document(user: User) -> dict[str, Any]:
    """Return the profile, ways to sign in, sessions, memberships, notifications and keys of `user`."""
    return {
        "profile": {
            "email": user.email,
            "name": user.name,
            "language": user.language,
            "time_zone": user.time_zone,
            "joined": user.date_joined,
            "last_sign_in": user.last_login,
            "has_password": user.has_usable_password(),
        },
        "email_addresses": _rows(
            EmailAddress.objects.filter(user=user), ("email", "verified", "primary")
        ),
        "linked_accounts": _rows(
            SocialAccount.objects.filter(user=user),
            ("provider", "uid", "date_joined", "last_login", "extra_data"),
        ),
        "second_factors": _rows(
            Authenticator.objects.filter(user=user), ("type", "created_at", "last_used_at")
        ),
        "sessions": _rows(
            UserSession.objects.filter(user=user),
            ("ip", "user_agent", "created_at", "last_seen_at"),
        ),
        **_belongings(user),
    }


def _belongings(user: User) -> dict[str, Any]:
    """Return the memberships, notifications and keys of `user`."""
    return {
        "organisations": _rows(
            user.memberships.all(), ("organisation__name", "organisation__slug", "role")
        ),
        "guest_access": _rows(user.grants.all(), ("organisation__slug", "workflow", "access")),
        "notification_preferences": _rows(
            user.notification_preferences.all(),
            ("organisation__slug", "workflow", "occasion", "coverage", "in_list", "mail"),
        ),
        "notifications": _rows(
            user.notifications.all(),
            ("channel", "run", "title", "result", "created_at", "read_at", "ended_at"),
        ),
        "support_requests": _rows(
            user.support_requests.all(), ("subject", "message", "run", "created_at", "answered_at")
        ),
        "security_log": _rows(
            user.security_entries.all(), ("at", "action", "actor", "address", "changes")
        ),
        "api_keys": _rows(
            user.api_keys.all(),
            (
                "name",
                "public_id",
                "scopes",
                "created_at",
                "expires_at",
                "revoked_at",
                "last_used_at",
            ),
        ),
    }


def _rows(rows: "QuerySet[Any]", names: Iterable[str]) -> list[dict[str, Any]]:
    return list(rows.order_by("pk").values(*names)[:MAX_ROWS])
