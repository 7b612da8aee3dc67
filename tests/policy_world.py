"""The organisation, its workflow and run, and the callers of the policy test."""

import datetime as dt
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.test import Client
from django.utils import timezone

from tests.factories import (
    ApiKeyFactory,
    ArtifactFactory,
    MembershipFactory,
    ProjectFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    UserFactory,
    ValidatorFactory,
)
from tests.policy import LAUNCH
from validibot.accounts import api_keys, invitations
from validibot.accounts.models import ApiKey, Role, User, WorkflowGrant
from validibot.accounts.scope import GUEST_PERMISSIONS, KEY_PERMISSIONS, PERMISSIONS, Scope
from validibot.core.storage import get_storage
from validibot.runs.models import Run
from validibot.webhooks.models import Webhook, WebhookDelivery
from validibot.workflows import links, schedules
from validibot.workflows.models import Step, Workflow

_PLACEHOLDER = re.compile(r"([\w-]+)/<\w+:\w+>")


@dataclass(frozen=True, slots=True)
class PolicyCaller:
    """Somebody who calls a route: a browser's session or an API key.

    `permissions` are those in the organisation, None for who is neither member nor guest there.
    """

    name: str
    client: Client = field(default_factory=Client)
    headers: dict[str, str] = field(default_factory=dict)
    signed_in: bool = True
    permissions: frozenset[str] | None = None
    sees_workflow: bool = True


_TOKENS = ("featured", "invitations", "shared", "launch", "unsubscribe", "waitlist")


class PolicyWorld:
    """An organisation with a workflow and a run of its owner, and people around it."""

    def __init__(self) -> None:
        self.owner = MembershipFactory.create(organisation__slug="acme").user
        self.acme = self.owner.organisations.get()
        step = StepFactory.create(workflow__organisation=self.acme)
        run = RunFactory.create(workflow=step.workflow, user=self.owner)
        sample = step.workflow.samples.create(filename="a.json", content=b"{}", passes=True)
        self.workflow = step.workflow.slug
        guest, member = self._guest(self.workflow), self._member(Role.VIEWER)
        owner = Scope.of_member(self.owner, self.acme, Role.OWNER)
        invited = invitations.invite(owner, "ada@example.org", role=Role.VIEWER)
        service_key, _ = api_keys.issue_for_service(
            self.acme, "CI", role=Role.VIEWER, scopes=["read"], lifetime=api_keys.LIFETIME
        )
        delivery = self._delivery()
        # Its page has the slug where the editor has the primary key.
        validator = ValidatorFactory.create(
            pk=987_654_321, slug="987654321", engine="tabular", organisation=self.acme
        )
        # The ids in paths, by the segment before them.
        self.ids: dict[str, Any] = {
            "orgs": "acme",
            **dict.fromkeys(("views", "sessions", "notifications"), 0),
            "workflows": self.workflow,
            "versions": 1,
            "validators": validator.pk,
            "samples": sample.pk,
            "runs": run.pk,
            "compare": run.pk,
            "files": 0,
            "export": "csv",
            "webhooks": delivery.webhook_id,
            "deliveries": delivery.pk,
            "steps": 1,
            "artifacts": self._artifact(run, step),
            "api-key": ApiKeyFactory.create().pk,
            "members": self.acme.memberships.get(user=member).pk,
            "invited": invited.pk,
            "guests": guest.pk,
            "projects": ProjectFactory.create(organisation=self.acme).pk,
            "keys": service_key.pk,
            "submissions": run.submission_id,
            **dict.fromkeys(_TOKENS, "wrong"),
            "shares": run.shares.create(token_digest="", expires_at=timezone.now()).pk,
            "links": self._link(step.workflow),
            "trials": RunFactory.create(workflow=step.workflow, source="TRIAL").pk,
            "schedules": self._schedule(step.workflow),
        }

    def _artifact(self, run: Run, step: Step) -> int:
        uri = f"{settings.DATA_ROOT}/runs/{run.pk}/report.csv"
        stored = get_storage(uri).create(uri, io.BytesIO(b"a,b"), mime_type="text/csv")
        made = ArtifactFactory.create(
            step_run=StepRunFactory.create(run=run, step=step),
            uri=stored.uri,
            storage_version=stored.version,
            mime_type="text/html",
            size_bytes=3,
        )
        return made.pk

    def _link(self, workflow: Workflow) -> int:
        day = dt.timedelta(days=1)
        made = links.create(workflow, user=self.owner, name="A", lifetime=day, max_launches=5)
        return made[0].pk

    def _schedule(self, workflow: Workflow) -> int:
        times = {"name": "A", "cron": "0 2 * * *", "time_zone": "UTC", "url": "https://example.org"}
        return schedules.create(workflow, user=self.owner, file=None, metadata={}, **times).pk

    def _delivery(self) -> WebhookDelivery:
        webhook = Webhook.objects.create(
            organisation=self.acme, name="Chat", url="https://hooks.example.org"
        )
        delivery = WebhookDelivery.of(webhook, "run.failed", {})
        delivery.save()
        return delivery

    def path(self, pattern: str) -> str:
        """Return a path that the pattern matches, of the objects of this organisation."""

        def value(found: re.Match[str]) -> str:
            return f"{found[1]}/{self.ids[found[1]]}"

        path = "/" + _PLACEHOLDER.sub(value, pattern)
        # The kinds of an export differ: findings and reports of runs, and workflows.
        path = path.replace("csv/progress", "html/progress")
        return path.replace("csv", "yaml") if "/workflows/" in path else path

    def people(self) -> Iterator[PolicyCaller]:
        """Yield the callers of pages: sessions."""
        yield PolicyCaller("anonymous", signed_in=False)
        yield self.session("stranger", MembershipFactory.create().user)
        for role, permissions in PERMISSIONS.items():
            yield self.session(role, self._member(role), permissions)
        yield self.session("guest", self._guest(self.workflow), GUEST_PERMISSIONS | {LAUNCH})
        other = self.session("guest of another", self._guest("other"), GUEST_PERMISSIONS)
        yield replace(other, sees_workflow=False)

    def programs(self) -> Iterator[PolicyCaller]:
        """Yield the callers of the API: the same people by their keys, narrower and service keys."""
        yield PolicyCaller("no key", signed_in=False)
        yield self._key("key of stranger", MembershipFactory.create().user)
        for role, permissions in PERMISSIONS.items():
            yield self._key(f"key of {role}", self._member(role), permissions)
        yield self._key("key of guest", self._guest(self.workflow), GUEST_PERMISSIONS | {LAUNCH})
        for scope, allowed in KEY_PERMISSIONS.items():
            admin, permissions = self._member(Role.ADMIN), PERMISSIONS[Role.ADMIN] & allowed
            yield self._key(f"{scope} key of admin", admin, permissions, scopes=scope)
        service = UserFactory.create(service_of=self.acme)
        MembershipFactory.create(organisation=self.acme, user=service, role=Role.AUTHOR)
        yield self._key("service key", service, PERMISSIONS[Role.AUTHOR])

    def session(
        self, name: str, user: User, permissions: frozenset[str] | None = None
    ) -> PolicyCaller:
        caller = PolicyCaller(name, permissions=permissions)
        caller.client.force_login(user)
        # The session notes its use and the organisation once; a call that is undone would each time.
        caller.client.get("/app/orgs/acme/runs/")
        return caller

    def _key(
        self,
        name: str,
        user: User,
        permissions: frozenset[str] | None = None,
        *,
        scopes: str = "read launch manage",
    ) -> PolicyCaller:
        key, text = api_keys.issue(user, name)
        ApiKey.objects.filter(pk=key.pk).update(scopes=scopes)
        return PolicyCaller(
            name, headers={"Authorization": f"Bearer {text}"}, permissions=permissions
        )

    def _member(self, role: str) -> User:
        user: User = MembershipFactory.create(organisation=self.acme, role=role).user
        return user

    def _guest(self, workflow: str) -> User:
        guest: User = UserFactory.create()
        WorkflowGrant.objects.create(
            organisation=self.acme, user=guest, workflow=workflow, access="launch"
        )
        return guest
