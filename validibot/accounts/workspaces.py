"""Creation and settings of organisations, the personal workspace of each user among them."""

from contextlib import suppress

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Membership, Organisation, Project, Role, User
from validibot.accounts.regions import offered_regions
from validibot.core.site_limits import check_room
from validibot.core.slugs import free_slug
from validibot.tracking.events import track
from validibot.tracking.models import EventName

MAX_OWNED = 50
_TRIES = 5


def ensure_personal_workspace(user: User) -> Organisation:
    """Return the personal organisation of `user`, made with a default project if it is missing."""
    for _try in range(_TRIES):
        if existing := Organisation.objects.filter(personal_owner=user).first():
            return existing
        # Between our look and our write somebody may take the slug, or make this very workspace.
        with suppress(IntegrityError):
            return _make_workspace(user)
    return _make_workspace(user)


def create_organisation(user: User, name: str) -> Organisation:
    """Create an organisation that `user` owns, with a default project. Raises ValidationError."""
    for _try in range(_TRIES):
        with suppress(IntegrityError), transaction.atomic():  # somebody may take the slug
            # Locked, so that a double click makes one organisation.
            User.objects.select_for_update().get(pk=user.pk)
            owned = Organisation.objects.filter(
                memberships__user=user, memberships__role=Role.OWNER, deletion_requested_at=None
            )
            if owned.filter(name__iexact=name).exists():
                message = _("You own an organisation %(name)s already. Choose another name.")
                raise ValidationError({"name": message % {"name": name}})
            if owned.count() >= MAX_OWNED:
                message = _(
                    "You own %(count)d organisations, which is the limit. Delete one first."
                )
                raise ValidationError(message % {"count": MAX_OWNED})
            check_room("organisations_per_user", owned.filter(personal_owner=None).count())
            stem = slugify(name)[:40].strip("-") or "organisation"
            made = _make(user, name=name, stem=stem)
            track(EventName.ORGANISATION_CREATED, actor=user.pk, organisation=made.pk)
            return made
    raise ValidationError(_("The organisation could not be created. Try again."))


@transaction.atomic
def rename(organisation: Organisation, name: str) -> None:
    """Rename an organisation; its slug stays, so links and programs go on working."""
    before = Organisation.locked(organisation.pk).name
    if name == before:
        return
    Organisation.objects.filter(pk=organisation.pk).update(name=name)
    audit.record(organisation, "organisation.changed", name, {"name": (before, name)})


@transaction.atomic
def set_data_region(organisation: Organisation, region: str) -> None:
    """Choose where an organisation keeps its data. Raises ValidationError if it has runs.

    The lock waits for a run that is being inserted, and makes the next one wait.
    """
    locked = Organisation.locked(organisation.pk)
    if region == locked.data_region:
        return
    if region not in offered_regions():
        known = ", ".join(offered_regions())
        message = _("%(region)s is not a data region of this site. Choose one of: %(known)s.")
        raise ValidationError({"data_region": message % {"region": region, "known": known}})
    if has_runs(locked):
        message = _("The data region is %(region)s and cannot be changed, because there are runs.")
        raise ValidationError({"data_region": message % {"region": locked.data_region_label}})
    Organisation.objects.filter(pk=locked.pk).update(data_region=region)
    changes = {"data_region": (locked.data_region, region)}
    audit.record(locked, "organisation.changed", locked, changes)


def has_runs(organisation: Organisation) -> bool:
    """Return whether the organisation has runs, which live in a layer above."""
    return Organisation.objects.filter(pk=organisation.pk, runs__isnull=False).exists()


def _make_workspace(user: User) -> Organisation:
    stem = slugify(user.email.partition("@")[0])[:40] or "workspace"
    return _make(user, name=f"{user.get_full_name()}'s workspace", stem=stem, personal_owner=user)


@transaction.atomic
def _make(user: User, *, name: str, stem: str, personal_owner: User | None = None) -> Organisation:
    taken = set(Organisation.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    organisation = Organisation.objects.create(
        name=name, slug=free_slug(stem, taken), personal_owner=personal_owner
    )
    Membership.objects.create(organisation=organisation, user=user, role=Role.OWNER)
    Project.objects.create(
        organisation=organisation, name="Default", slug="default", is_default=True
    )
    return organisation
