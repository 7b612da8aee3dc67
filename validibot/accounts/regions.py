"""Data regions: one deployment serves the organisations of one region, and refuses those of others.

A deployment for one region names it in `DATA_REGION`. Its database, buckets and secrets are its own, so
it has no rows of other regions, unless some were moved or restored there by mistake: these are neither
shown nor used. Without `DATA_REGION` a site serves all of `DATA_REGIONS`.
"""

from django.conf import settings
from django.db.models import Q
from django.utils.translation import gettext, gettext_noop

from validibot.accounts.models import Organisation

# Settings mark no texts: the label of the default of DATA_REGIONS.
gettext_noop("Where this site runs")


class OrganisationElsewhere(Exception):
    """The organisation keeps its data in another region; `site` is the address there, if it is known."""

    def __init__(self, organisation: Organisation) -> None:
        site: str = settings.DATA_REGION_SITES.get(organisation.data_region, "").rstrip("/")
        # A site that names itself would lead people to itself for ever.
        self.site = "" if site == settings.SITE_URL else site
        place = f" Use {self.site}." if self.site else " Ask its owner for the address there."
        super().__init__(
            f"{organisation.name} keeps its data in another region"
            f" ({organisation.data_region_label}).{place}"
        )


def offered_regions() -> dict[str, str]:
    """Return the regions that an organisation may choose here, with their labels."""
    own = settings.DATA_REGION
    regions = {own: settings.DATA_REGIONS.get(own, own)} if own else settings.DATA_REGIONS
    return {region: gettext(label) for region, label in regions.items()}


def served_here(organisation: str = "") -> Q:
    """Return the condition that an organisation is served here; `organisation` is the path to it."""
    if not settings.DATA_REGION:
        return Q()
    path = f"{organisation}__data_region" if organisation else "data_region"
    return Q(**{path: settings.DATA_REGION})


def check_served(organisation: Organisation) -> None:
    """Raise OrganisationElsewhere unless the organisation is served here."""
    if settings.DATA_REGION and organisation.data_region != settings.DATA_REGION:
        raise OrganisationElsewhere(organisation)
