"""Limits of the site that operators set in the site settings; an empty one limits nothing."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from validibot.core.models import SiteSettings

MEGABYTE = 1_000_000


def check_room(name: str, count: int) -> None:
    """Raise ValidationError if there are `count` of what the site setting `name` limits, and no more fit.

    The name of the setting is the text of the message: "workflows per organisation".
    """
    limit = getattr(SiteSettings.load(), name)
    if limit is None or count < limit:
        return
    message = _(
        "This site allows at most %(limit)d %(setting)s. Delete some first, or ask the operator for a"
        " larger limit."
    )
    label = next(each.verbose_name for each in SiteSettings._meta.fields if each.name == name)  # noqa: SLF001
    raise ValidationError(message % {"limit": limit, "setting": label})


def largest_file() -> int:
    """Return the largest size of a submission in bytes: that of the site, within MAX_UPLOAD_BYTES."""
    megabytes = SiteSettings.load().largest_file_megabytes
    bound: int = settings.MAX_UPLOAD_BYTES
    return bound if megabytes is None else min(bound, megabytes * MEGABYTE)
