"""Every user has a workspace: an organisation of one's own."""

from contextlib import suppress

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from validibot.accounts.models import Membership, Organisation, Project, Role, User

_TRIES = 5


def ensure_personal_workspace(user: User) -> Organisation:
    """Return the personal organisation of `user`, made with a default project if it is missing."""
    for _ in range(_TRIES):
        if existing := Organisation.objects.filter(personal_owner=user).first():
            return existing
        # Between our look and our write somebody may take the slug, or make this very workspace.
        with suppress(IntegrityError):
            return _make(user)
    return _make(user)


@transaction.atomic
def _make(user: User) -> Organisation:
    stem = slugify(user.email.partition("@")[0])[:40] or "workspace"
    organisation = Organisation.objects.create(
        name=f"{user.get_full_name()}'s workspace", slug=free_slug(stem), personal_owner=user
    )
    Membership.objects.create(organisation=organisation, user=user, role=Role.OWNER)
    Project.objects.create(
        organisation=organisation, name="Default", slug="default", is_default=True
    )
    return organisation


def free_slug(stem: str) -> str:
    """Return `stem`, or `stem-2`, `stem-3`, …: the first that no organisation has."""
    taken = set(Organisation.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    number = 1
    while (slug := stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    return slug
