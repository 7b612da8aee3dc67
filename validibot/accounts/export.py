"""Export of the data that an account consists of, as one JSON document.

Secrets are left out: of passwords, keys and second factors only their existence and dates are told.
"""

import json
from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from validibot.accounts.models import User

# Rows of one kind in an export; a list that reaches it says so.
MAX_ROWS = 10_000
# Tables of apps that the worker has not installed, and what is told of them.
_SIGN_IN_TABLES = {
    "email_addresses": ("account_emailaddress", 'email, verified, "primary"'),
    "linked_accounts": (
        "socialaccount_socialaccount",
        "provider, uid, date_joined, last_login, extra_data",
    ),
    "second_factors": ("mfa_authenticator", "type, created_at, last_used_at"),
    "sessions": ("usersessions_usersession", "ip, user_agent, created_at, last_seen_at"),
}


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
        **{name: _sign_in_rows(user, *table) for name, table in _SIGN_IN_TABLES.items()},
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


def _sign_in_rows(user: User, table: str, columns: str) -> list[dict[str, Any]]:
    statement = (
        f"SELECT row_to_json(found)::text FROM (SELECT {columns} FROM {table}"  # noqa: S608 - ours
        " WHERE user_id = %s ORDER BY id LIMIT %s) AS found"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [user.pk, MAX_ROWS])
        return [json.loads(row) for (row,) in cursor.fetchall()]


def _rows(rows: "QuerySet[Any]", names: Iterable[str]) -> list[dict[str, Any]]:
    return list(rows.order_by("pk").values(*names)[:MAX_ROWS])
