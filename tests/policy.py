"""The policy table of all routes: who may call which with what method.

A route that has no entry here fails `tests/house/test_routes.py`, and a route that answers otherwise
fails `tests/unit/validibot/test_policy.py`. To add a route, write a line into the part of `POLICY` that
it belongs to: the methods it takes, each with the permission of `accounts.scope` that it needs (or one
of the words below). Where the route holds a new kind of id, `PolicyWorld.ids` needs one, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver

URLCONFS = ("config.urls_web", "config.urls_worker")


@dataclass(frozen=True, slots=True)
class RouteRule:
    """The permission that a method of a route needs.

    Without the permission `sees` the answer is 404, as for a stranger; without `needs` it is 403.
    """

    needs: str
    sees: str = ""


ANYONE = "anyone"  # no account is needed
SIGNED_IN = "signed in"  # every user, for that user's own things
API_KEY = "API key"  # every user by key, none by session
OWN_KEYS = "own keys"  # signed in, and by key as far as its scopes go: test_personal_keys.py
STAFF = "staff"  # operators
QUEUE = "queue"  # the queue, the scheduler and the validators, on the private worker
LAUNCH = "run.launch"
EDIT = "workflow.edit"
# The run in question belongs to the owner: those who see their own runs only do not find it.
RUN = RouteRule("run.view_all", sees="run.view_all")
CANCEL = RouteRule("run.cancel_all", sees="run.view_all")
RERUN = RouteRule(LAUNCH, sees="run.view_all")

Methods = dict[str, str | RouteRule]
PUBLIC: dict[str, Methods] = {
    "health/": {"*": ANYONE},
    "health/ready/": {"*": ANYONE},
    "": {"*": ANYONE},
}
# Routes of libraries, by what their addresses begin with.
LIBRARIES = {"accounts/": SIGNED_IN, "admin/": STAFF}
# Pages of libraries for people who are not signed in, by the names of their routes.
PUBLIC_ACCOUNT_PAGES = {
    *("account_login", "account_signup", "account_inactive", "account_confirm_email"),
    *("account_email_verification_sent", "account_reset_password", "account_reset_password_done"),
    *("account_reset_password_from_key", "account_reset_password_from_key_done"),
    *("account_confirm_login_code", "account_logout", "login", "logout"),
    *("socialaccount_login_cancelled", "socialaccount_login_error", "openid_connect_login"),
    "openid_connect_callback",
}
_ORG = "app/orgs/<ident:org>/"
_EDITOR = f"{_ORG}workflows/<ident:slug>/"
PAGES: dict[str, Methods] = {
    "app/": {"*": SIGNED_IN},
    "app/users/profile/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "app/users/sessions/<int:pk>/end/": {"POST": SIGNED_IN},
    "app/users/security/": {"GET": SIGNED_IN},
    "app/users/data/": {"GET": SIGNED_IN},
    "app/users/data/export/": {"GET": SIGNED_IN},
    "app/users/data/export/progress/": {"GET": SIGNED_IN},
    "app/users/delete/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "app/users/notifications/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "app/users/notifications/settings/": {"GET": SIGNED_IN},
    "app/users/notifications/<int:pk>/": {"GET": SIGNED_IN},
    "app/users/api-key/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "app/users/api-key/<int:pk>/revoke/": {"POST": SIGNED_IN},
    "app/users/api-key/<int:pk>/rotate/": {"POST": SIGNED_IN},
    "app/orgs/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "notifications/unsubscribe/<str:token>/": {"GET": ANYONE, "POST": ANYONE},
    "support/": {"GET": ANYONE, "POST": ANYONE},
    "waitlist/": {"GET": ANYONE, "POST": ANYONE},
    "waitlist/<str:token>/": {"GET": ANYONE, "POST": ANYONE},
    "waitlist/<str:token>/join/": {"GET": ANYONE},
    "shared/<str:token>/": {"GET": ANYONE},
    "invitations/<str:token>/": {"GET": ANYONE, "POST": ANYONE},
    "media/featured/<str:name>": {"GET": ANYONE},
    "badges/<str:token>/badge.svg": {"GET": ANYONE},
    "launch/<str:token>/": {"GET": ANYONE, "POST": ANYONE},
    "launch/<str:token>/runs/<str:run>/": {"GET": ANYONE},
    f"{_ORG}settings/": {"GET": "member.view", "POST": "organisation.manage"},
    f"{_ORG}settings/leave/": {"POST": "member.view"},
    f"{_ORG}settings/delete/": {"POST": "organisation.manage"},
    f"{_ORG}settings/roles/": {"GET": "member.view"},
    f"{_ORG}settings/members/": {"GET": "member.view", "POST": "member.manage"},
    f"{_ORG}settings/members/<int:pk>/role/": {"POST": "member.manage"},
    f"{_ORG}settings/members/<int:pk>/remove/": {"POST": "member.manage"},
    f"{_ORG}settings/invited/<int:pk>/resend/": {"POST": "member.manage"},
    f"{_ORG}settings/invited/<int:pk>/revoke/": {"POST": "member.manage"},
    f"{_ORG}settings/guests/": {"GET": "member.manage", "POST": "member.manage"},
    f"{_ORG}settings/guests/<int:pk>/": {"GET": "member.manage", "POST": "member.manage"},
    f"{_ORG}settings/guests/<int:pk>/remove/": {"POST": "member.manage"},
    f"{_ORG}settings/projects/": {"GET": "member.view", "POST": "project.manage"},
    f"{_ORG}settings/projects/<int:pk>/": {"GET": "project.manage", "POST": "project.manage"},
    f"{_ORG}settings/projects/<int:pk>/default/": {"POST": "project.manage"},
    f"{_ORG}settings/projects/<int:pk>/delete/": {"POST": "project.manage"},
    f"{_ORG}settings/validators/": {"GET": "validator.manage", "POST": "validator.manage"},
    f"{_ORG}settings/validators/<int:pk>/": {"GET": "validator.manage", "POST": "validator.manage"},
    f"{_ORG}settings/validators/<int:pk>/archive/": {"POST": "validator.manage"},
    f"{_ORG}settings/validators/<int:pk>/prepare/": {"POST": "validator.manage"},
    f"{_ORG}settings/validators/<int:pk>/run-sample/": {"POST": "validator.manage"},
    f"{_ORG}settings/validators/<int:pk>/samples/": {"POST": "validator.manage"},
    f"{_ORG}settings/validators/<int:pk>/secrets/": {"POST": "validator.manage"},
    f"{_ORG}settings/webhooks/": {"GET": "webhook.manage", "POST": "webhook.manage"},
    f"{_ORG}settings/webhooks/<int:pk>/": {"GET": "webhook.manage", "POST": "webhook.manage"},
    f"{_ORG}settings/webhooks/<int:pk>/test/": {"POST": "webhook.manage"},
    f"{_ORG}settings/webhooks/<int:pk>/rotate/": {"POST": "webhook.manage"},
    f"{_ORG}settings/webhooks/<int:pk>/switch/": {"POST": "webhook.manage"},
    f"{_ORG}settings/webhooks/<int:pk>/delete/": {"POST": "webhook.manage"},
    f"{_ORG}settings/webhooks/<int:pk>/deliveries/<uuid:delivery_pk>/resend/": {
        "POST": "webhook.manage"
    },
    f"{_ORG}settings/ai/": {"GET": "ai.manage", "POST": "ai.manage"},
    f"{_ORG}settings/ai/try/": {"POST": "ai.manage"},
    f"{_ORG}settings/ai/remove/": {"POST": "ai.manage"},
    f"{_ORG}settings/credits/": {"GET": "analytics.view"},
    f"{_ORG}settings/credits/export/usage/": {"GET": "analytics.view"},
    f"{_ORG}settings/credits/export/ledger/": {"GET": "analytics.view"},
    f"{_ORG}dashboard/": {"GET": "analytics.view"},
    f"{_ORG}dashboard/csv/": {"GET": "analytics.view"},
    f"{_ORG}settings/audit/": {"GET": "audit.view"},
    f"{_ORG}settings/audit/export/": {"GET": "audit.view"},
    f"{_ORG}settings/keys/": {"GET": "key.manage", "POST": "key.manage"},
    f"{_ORG}settings/keys/<int:pk>/rotate/": {"POST": "key.manage"},
    f"{_ORG}settings/keys/<int:pk>/revoke/": {"POST": "key.manage"},
    f"{_ORG}notifications/": {"GET": "workflow.view", "POST": "workflow.view"},
    f"{_ORG}notifications/delete/": {"POST": "workflow.view"},
    f"{_ORG}workflows/": {"GET": "workflow.view"},
    f"{_ORG}workflows/<ident:slug>/": {"GET": "workflow.view", "POST": LAUNCH},
    f"{_ORG}workflows/<ident:slug>/trend/": {"GET": "workflow.view"},
    f"{_ORG}workflows/<ident:slug>/samples/<int:pk>/": {"GET": "workflow.view"},
    f"{_ORG}workflows/<ident:slug>/samples/<int:pk>/launch/": {"POST": LAUNCH},
    f"{_ORG}new-workflow/": {"GET": EDIT, "POST": EDIT},
    f"{_ORG}import-workflow/": {"GET": EDIT, "POST": EDIT},
    f"{_ORG}templates/": {"GET": EDIT},
    f"{_ORG}templates/use/": {"POST": EDIT},
    f"{_ORG}validators/": {"GET": "member.view"},
    f"{_ORG}validators/<ident:slug>/": {"GET": "member.view"},
    f"{_EDITOR}samples/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}samples/<int:pk>/delete/": {"POST": EDIT},
    f"{_EDITOR}edit/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}image/change/": {"POST": EDIT},
    f"{_EDITOR}clone/": {"POST": EDIT},
    f"{_EDITOR}archive/": {"POST": EDIT},
    f"{_EDITOR}delete/": {"POST": EDIT},
    f"{_EDITOR}steps/": {"GET": EDIT},
    f"{_EDITOR}steps/order/": {"POST": EDIT},
    f"{_EDITOR}steps/<int:order>/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}steps/<int:order>/change/": {"POST": EDIT},
    f"{_EDITOR}validators/": {"GET": EDIT},
    f"{_EDITOR}validators/<int:validator>/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}validators/<int:validator>/try/": {"POST": EDIT},
    f"{_EDITOR}validators/<int:validator>/infer/": {"POST": EDIT},
    f"{_EDITOR}trials/<uuid:run>/": {"GET": EDIT},
    f"{_EDITOR}sharing/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}sharing/links/<int:pk>/revoke/": {"POST": EDIT},
    f"{_EDITOR}sharing/badge/": {"POST": EDIT},
    f"{_EDITOR}schedules/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}schedules/<int:pk>/": {"GET": EDIT, "POST": EDIT},
    f"{_EDITOR}schedules/<int:pk>/switch/": {"POST": EDIT},
    f"{_EDITOR}schedules/<int:pk>/run/": {"POST": EDIT},
    f"{_EDITOR}schedules/<int:pk>/delete/": {"POST": EDIT},
    f"{_EDITOR}versions/": {"GET": EDIT},
    f"{_EDITOR}versions/compare/": {"GET": EDIT},
    f"{_EDITOR}versions/<version:version>/": {"GET": "workflow.view", "POST": LAUNCH},
    f"{_EDITOR}versions/<version:version>/text/": {"GET": EDIT},
    f"{_EDITOR}versions/<version:version>/bundle/": {"GET": EDIT},
    f"{_ORG}runs/": {"GET": "run.view_own"},
    f"{_ORG}runs/selected/": {"POST": "run.view_own"},
    f"{_ORG}runs/views/": {"POST": "run.view_own"},
    f"{_ORG}runs/views/delete/": {"POST": "run.view_own"},
    f"{_ORG}runs/<uuid:pk>/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/stream/": {"*": RUN},
    f"{_ORG}runs/<uuid:pk>/cancel/": {"POST": CANCEL},
    f"{_ORG}runs/<uuid:pk>/steps/<int:order>/findings/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/artifacts/<int:artifact_pk>/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/artifacts/<int:artifact_pk>/preview/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/artifacts/<int:artifact_pk>/framed/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/rerun/": {"POST": RERUN},
    f"{_ORG}runs/<uuid:pk>/retry/": {"POST": RERUN},
    f"{_ORG}runs/<uuid:pk>/compare/<uuid:other>/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/document/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/files/<int:order>/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/shares/": {"GET": RERUN, "POST": RERUN},
    f"{_ORG}runs/<uuid:pk>/shares/<int:share_pk>/revoke/": {"POST": RERUN},
    f"{_ORG}runs/<uuid:pk>/export/<slug:kind>/": {"GET": RUN},
    f"{_ORG}runs/<uuid:pk>/export/<slug:kind>/progress/": {"GET": RUN},
}
_API = "api/v1/orgs/<ident:org>/"
_WORKFLOW = f"{_API}workflows/<ident:workflow>/"
_WEBHOOK = f"{_API}webhooks/<int:webhook>/"
API: dict[str, Methods] = {
    "api/v1/schema/": {"GET": ANYONE},
    "api/v1/docs/": {"GET": ANYONE},
    "api/v1/redoc/": {"GET": ANYONE},
    "api/v1/auth/me/": {"GET": SIGNED_IN},
    "api/v1/users/me/": {"GET": SIGNED_IN},
    "api/v1/users/me/keys/": {"GET": SIGNED_IN, "POST": OWN_KEYS},
    "api/v1/users/me/keys/<int:key>/rotate/": {"POST": OWN_KEYS},
    "api/v1/users/me/keys/<int:key>/revoke/": {"POST": OWN_KEYS},
    "api/v1/users/me/notifications/": {"GET": OWN_KEYS},
    "api/v1/users/me/notifications/read/": {"POST": OWN_KEYS},
    "api/v1/orgs/": {"GET": SIGNED_IN},
    "api/v1/mcp/": {"POST": API_KEY},
    _API: {"GET": "workflow.view"},
    f"{_API}workflows/": {"GET": "workflow.view", "POST": EDIT},
    f"{_API}notification-preferences/": {
        "GET": "workflow.view",
        "PUT": OWN_KEYS,
        "DELETE": OWN_KEYS,
    },
    _WORKFLOW: {"GET": "workflow.view", "PUT": EDIT},
    f"{_WORKFLOW}export/<slug:kind>/": {"GET": EDIT},
    f"{_WORKFLOW}runs/": {"POST": LAUNCH},
    f"{_WORKFLOW}schedules/": {"GET": EDIT, "POST": EDIT},
    f"{_WORKFLOW}schedules/<int:schedule>/": dict.fromkeys(("GET", "PATCH", "DELETE"), EDIT),
    f"{_WORKFLOW}schedules/<int:schedule>/run/": {"POST": EDIT},
    f"{_WORKFLOW}versions/": {"GET": "workflow.view"},
    f"{_WORKFLOW}versions/<version:version>/": {"GET": "workflow.view"},
    f"{_WORKFLOW}versions/<version:version>/export/<slug:kind>/": {"GET": EDIT},
    f"{_WORKFLOW}versions/<version:version>/runs/": {"POST": LAUNCH},
    f"{_API}projects/": {"GET": "workflow.view"},
    f"{_API}members/": {"GET": "member.view"},
    f"{_API}validators/": {"GET": "workflow.view"},
    f"{_API}submissions/": {"GET": "run.view_own"},
    f"{_API}submissions/<uuid:submission>/": {"GET": RUN},
    f"{_API}submissions/<uuid:submission>/files/<int:order>/": {"GET": RUN},
    f"{_API}webhooks/": {"GET": "webhook.manage", "POST": "webhook.manage"},
    _WEBHOOK: dict.fromkeys(("GET", "PATCH", "DELETE"), "webhook.manage"),
    f"{_WEBHOOK}secret/": {"POST": "webhook.manage"},
    f"{_WEBHOOK}test/": {"POST": "webhook.manage"},
    f"{_WEBHOOK}deliveries/": {"GET": "webhook.manage"},
    f"{_WEBHOOK}deliveries/<uuid:delivery>/resend/": {"POST": "webhook.manage"},
    f"{_API}keys/": {"GET": "key.manage", "POST": "key.manage"},
    f"{_API}keys/<int:key>/rotate/": {"POST": "key.manage"},
    f"{_API}keys/<int:key>/revoke/": {"POST": "key.manage"},
    f"{_API}credits/": {"GET": "analytics.view"},
    f"{_API}credits/usage/": {"GET": "analytics.view"},
    f"{_API}credits/ledger/": {"GET": "analytics.view"},
    f"{_API}figures/": {"GET": "analytics.view"},
    f"{_API}audit/": {"GET": "audit.view"},
    f"{_API}audit/export/": {"GET": "audit.view"},
    f"{_API}weather/": {"GET": "workflow.view"},
    f"{_API}runs/": {"GET": "run.view_own"},
    f"{_API}runs/<uuid:run>/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/events/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/events/stream/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/progress/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/evidence/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/evidence/contents/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/cancel/": {"POST": CANCEL},
    f"{_API}runs/<uuid:run>/rerun/": {"POST": RERUN},
    f"{_API}runs/<uuid:run>/retry/": {"POST": RERUN},
    f"{_API}runs/<uuid:run>/findings/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/export/<slug:kind>/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/files/<int:order>/": {"GET": RUN},
    f"{_API}runs/<uuid:run>/artifacts/<int:artifact>/": {"GET": RUN},
}
WORKER: dict[str, Methods] = {
    "internal/access/": {"POST": QUEUE},
    "internal/tasks/": {"POST": QUEUE},
    "internal/callbacks/": {"POST": QUEUE},
    "internal/capabilities/": {"POST": QUEUE},
    "internal/schedules/reconcile/": {"POST": QUEUE},
    "internal/schedules/purge/": {"POST": QUEUE},
    "internal/schedules/digests/": {"POST": QUEUE},
    "internal/schedules/figures/": {"POST": QUEUE},
}
POLICY = PUBLIC | PAGES | API | WORKER


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a URLconf: its pattern without the leading slash, and its name."""

    urlconf: str
    pattern: str
    name: str

    @property
    def library(self) -> str:
        """The word for those who may use the route, if it is one of a library."""
        return next((who for start, who in LIBRARIES.items() if self.pattern.startswith(start)), "")


def all_routes() -> Iterator[Route]:
    """Yield every route of the product from its URLconfs."""
    for urlconf in URLCONFS:
        for pattern, name in _walk(get_resolver(urlconf).url_patterns):
            yield Route(urlconf, pattern, name)


def _walk(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, str]]:
    for each in patterns:
        pattern = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, pattern)
        else:
            yield pattern, each.name or ""
