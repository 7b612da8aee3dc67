"""Invitations to an organisation by mail, for a role or as a guest.

The link holds a token of 256 random bits; only a keyed digest of it is stored. A link is good for one
acceptance, for `LIFETIME`, and only for an account that has verified the invited address: a mail that
was passed on opens nothing. Sending the mail again makes a new link and ends the one before.
"""

import datetime as dt
from collections.abc import Sequence

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.members import check_assignable
from validibot.accounts.models import Invitation, Membership, Organisation, Role, User
from validibot.accounts.scope import Scope
from validibot.core.mail import send_later
from validibot.core.site_limits import check_room
from validibot.core.throttle import FailureLimit
from validibot.core.tokens import keyed_digest, new_token
from validibot.tracking.events import track
from validibot.tracking.models import EventName

LIFETIME = dt.timedelta(days=7)
# Until then the mail is not sent again: a double click is one invitation.
RESEND_INTERVAL = dt.timedelta(minutes=1)
# More would make the site a sender of mass mail.
MAX_OPEN = 200
# Also invitations that are revoked and sent again.
_MAILS = FailureLimit("invitation-mails", count=300, seconds=86_400)
_PURPOSE = "invitation"


def invite(
    scope: Scope, email: str, *, role: str = "", workflows: Sequence[str] = (), access: str = "view"
) -> Invitation:
    """Invite an address for a role, or as a guest for workflows, and send the mail.

    An open invitation of the address is replaced. Raises ValidationError.
    """
    email = email.lower()
    with transaction.atomic():
        organisation = Organisation.locked(scope.organisation.pk)
        _check(scope, organisation, email, role)
        invitation = organisation.invitations.filter(
            email=email, accepted_at=None, revoked_at=None
        ).first() or Invitation(organisation=organisation, email=email)
        wanted = {"role": role, "workflows": sorted(workflows), "access": access}
        is_same = all(getattr(invitation, name) == value for name, value in wanted.items())
        if invitation.pk and not may_resend(invitation):
            if is_same:
                return invitation
            raise ValidationError(_too_soon(email))
        for name, value in wanted.items():
            setattr(invitation, name, value)
        invitation.invited_by = scope.user
        _send(invitation)
        told = {"role": (None, role or "guest")}
        audit.record(organisation, "invitation.sent", email, told)
    return invitation


def resend(scope: Scope, pk: int) -> Invitation:
    """Send the mail again with a new link. Raises Invitation.DoesNotExist and ValidationError."""
    with transaction.atomic():
        organisation = Organisation.locked(scope.organisation.pk)
        invitation = organisation.invitations.get(pk=pk, accepted_at=None, revoked_at=None)
        if invitation.role:
            check_assignable(scope, invitation.role)
        if not may_resend(invitation):
            raise ValidationError(_too_soon(invitation.email))
        _send(invitation)
    return invitation


def revoke(scope: Scope, pk: int) -> Invitation:
    """End an open invitation. Raises Invitation.DoesNotExist and ValidationError."""
    with transaction.atomic():
        Organisation.locked(scope.organisation.pk)
        opened = scope.organisation.invitations.filter(accepted_at=None, revoked_at=None)
        invitation = opened.get(pk=pk)
        if invitation.role:
            check_assignable(scope, invitation.role)
        opened.filter(pk=pk).update(revoked_at=timezone.now())
        audit.record(scope.organisation, "invitation.revoked", invitation.email)
    return invitation


def find(token: str) -> Invitation | None:
    """Return the invitation of a link, open or not; None for a link that never was or was replaced."""
    return (
        Invitation.objects.select_related("organisation", "invited_by")
        .filter(token_digest=keyed_digest(token, purpose=_PURPOSE))
        .first()
    )


def is_addressed_to(invitation: Invitation, user: User) -> bool:
    """Return whether the user has verified the invited address."""
    own = EmailAddress.objects.filter(user=user, verified=True, email=invitation.email)
    return bool(own.exists())


@transaction.atomic
def accept(invitation: Invitation, user: User) -> Organisation:
    """Make the user a member, or a guest, as the invitation says. Raises ValidationError.

    A member who accepts keeps the role that the membership has.
    """
    organisation = Organisation.locked(invitation.organisation_id)
    current = Invitation.objects.select_for_update().get(pk=invitation.pk)
    if not is_addressed_to(current, user):
        raise ValidationError(
            _("The invitation is for %(email)s, an address that your account has not verified.")
            % {"email": current.email}
        )
    if organisation.deletion_requested_at or not current.is_open:
        raise ValidationError(_("The invitation is no longer open."))
    if current.role:
        if not organisation.memberships.filter(user=user).exists():
            check_members(organisation)
        Membership.objects.get_or_create(
            organisation=organisation, user=user, defaults={"role": current.role}
        )
    else:
        _grant(organisation, user, current)
    current.accepted_at, current.accepted_by = timezone.now(), user
    current.save(update_fields=["accepted_at", "accepted_by"])
    told = {"role": (None, current.role or "guest")}
    audit.record(organisation, "member.joined", user, told)
    kind = current.role or "guest"
    track(EventName.MEMBER_JOINED, actor=user.pk, organisation=organisation.pk, role=kind)
    return organisation


def _grant(organisation: Organisation, user: User, invitation: Invitation) -> None:
    """Grant those workflows of an invitation that still exist; another may get a free slug later."""
    existing = organisation.workflows.filter(slug__in=invitation.workflows)
    slugs = set(existing.values_list("slug", flat=True))
    if not slugs:
        raise ValidationError(
            _("The workflows of the invitation were deleted or renamed meanwhile.")
        )
    for workflow in slugs:
        organisation.grants.update_or_create(
            user=user, workflow=workflow, defaults={"access": invitation.access}
        )


def _too_soon(email: str) -> str:
    message = _("The mail to %(email)s was sent less than a minute ago. Wait for it to arrive.")
    return message % {"email": email}


def may_resend(invitation: Invitation) -> bool:
    return invitation.sent_at + RESEND_INTERVAL <= timezone.now()


def check_members(organisation: Organisation) -> None:
    """Raise ValidationError if the site allows the organisation no further member."""
    people = organisation.memberships.filter(user__service_of=None)
    check_room("members_per_organisation", people.count())


def _check(scope: Scope, organisation: Organisation, email: str, role: str) -> None:
    if role:
        check_assignable(scope, role)
        check_members(organisation)
        if organisation.personal_owner_id:
            raise ValidationError(
                _("A personal workspace has no other members. Create an organisation instead.")
            )
    if organisation.deletion_requested_at:
        raise ValidationError(_("The organisation is being deleted."))
    known = EmailAddress.objects.filter(verified=True, email=email).values("user")
    if organisation.memberships.filter(user__in=known).exists():
        message = _("email: %(email)s is a member already. Change the role in the list of members.")
        raise ValidationError({"email": message % {"email": email}})
    opened = organisation.invitations.filter(accepted_at=None, revoked_at=None)
    if opened.exclude(email=email).count() >= MAX_OPEN:
        message = _("There are %(count)d open invitations. Revoke some of them first.")
        raise ValidationError(message % {"count": MAX_OPEN})


def _send(invitation: Invitation) -> None:
    """Give the invitation a new link and mail it. Raises ValidationError."""
    if _MAILS.exceeded_after(str(invitation.organisation_id)):
        refusal = _("%(organisation)s has sent %(count)d invitations today. Go on tomorrow.")
        sender = invitation.organisation.name
        raise ValidationError(refusal % {"organisation": sender, "count": _MAILS.count})
    token = new_token()
    invitation.token_digest = keyed_digest(token, purpose=_PURPOSE)
    invitation.sent_at = timezone.now()
    invitation.expires_at = invitation.sent_at + LIFETIME
    invitation.save()
    context = {
        "invitation": invitation,
        "role": Role(invitation.role).label if invitation.role else "",
        "url": settings.SITE_URL + reverse("invitation", args=[token]),
        "days": LIFETIME.days,
    }
    name = invitation.organisation.name
    message = EmailMultiAlternatives(
        subject=_("Join %(organisation)s on Validibot") % {"organisation": name},
        body=render_to_string("accounts/mail/invitation.txt", context),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[invitation.email],
    )
    html = render_to_string("accounts/mail/invitation.html", context)
    message.attach_alternative(html, "text/html")
    send_later(message)
