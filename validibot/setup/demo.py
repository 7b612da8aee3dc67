"""Demo data: a user with all rights, an organisation, and workflows to try."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction

from validibot.accounts import api_keys
from validibot.accounts.models import Membership, Organisation, Project, Role, User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.setup.seeds import ROOT, Seed, apply_seed, read_seeds

Say = Callable[[str], object]


class DemoError(Exception):
    """The settings of the demo data are invalid."""


def make(say: Say) -> None:
    """Create or update the demo data. Raises DemoError, SeedInvalid and StorageError."""
    seeds = read_seeds()
    with transaction.atomic():
        # Created before the user, whose own workspace could take the slug.
        organisation, _ = Organisation.objects.get_or_create(
            slug="demo", defaults={"name": "Demo", "launch_quota": 0}
        )
        project, _ = Project.objects.get_or_create(
            organisation=organisation,
            slug="default",
            defaults={"name": "Default", "is_default": True},
        )
        user = _user(organisation)
    for seed in seeds:
        apply_seed(seed, project=project, author=user, say=say)
    if settings.SEED_FILE:
        write_seed_file(Path(settings.SEED_FILE), organisation, seeds)


def _user(organisation: Organisation) -> User:
    email, password = settings.DEMO_EMAIL.lower(), settings.DEMO_PASSWORD
    if not password:
        raise DemoError("DEMO_EMAIL is set but DEMO_PASSWORD is not: set both or neither.")
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_superuser(email, password, name="Demo")
    elif not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    EmailAddress.objects.update_or_create(
        user=user, email=email, defaults={"verified": True, "primary": True}
    )
    ensure_personal_workspace(user)
    Membership.objects.get_or_create(
        organisation=organisation, user=user, defaults={"role": Role.OWNER}
    )
    if settings.DEMO_API_KEY:
        _store_key(user)
    return user


def _store_key(user: User) -> None:
    try:
        api_keys.store(user, "Demo", settings.DEMO_API_KEY)
    except ValueError as error:
        raise DemoError(f"Invalid DEMO_API_KEY: {error}") from None


def write_seed_file(path: Path, organisation: Organisation, seeds: Sequence[Seed]) -> None:
    """Write the demo workflows and their sample files as JSON, for other programs."""
    workflows = [
        {
            "slug": seed.slug,
            "name": seed.name,
            "sample": str(ROOT / seed.sample),
            "failing_sample": str(ROOT / seed.failing_sample),
        }
        for seed in seeds
    ]
    facts = {"org": organisation.slug, "workflows": workflows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
