"""Profile of a user: name, language and time zone."""

import unicodedata
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django.conf import settings

MAX_NAME = 150


def visible_line(text: str) -> str:
    """Return a text on one line, without control and direction characters."""
    normal = unicodedata.normalize("NFC", text)
    # Cc, Cf, Cs, Co, Cn: text that cannot be seen, or that turns the text around it.
    seen = "".join(" " if each.isspace() else each for each in normal)
    kept = (each for each in seen if not unicodedata.category(each).startswith("C"))
    return " ".join("".join(kept).split())


def clean_name(text: str) -> str:
    """Return a name on one line, without control and direction characters, at most 150 long."""
    return visible_line(text)[:MAX_NAME].strip()


def known_language(code: str) -> str:
    """Return the code if the site offers the language, else "": operators may take one away."""
    return code if code in dict(settings.LANGUAGES) else ""


def time_zones() -> list[str]:
    """Return the names of time zones with a place: `Europe/Zurich`, and `UTC`."""
    return ["UTC", *sorted(name for name in available_timezones() if _is_place(name))]


def _is_place(name: str) -> bool:
    return "/" in name and not name.startswith(("Etc/", "SystemV/", "US/", "posix/", "right/"))


def zone_of(name: str) -> ZoneInfo | None:
    """Return a time zone by its name, None if there is none of that name."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
