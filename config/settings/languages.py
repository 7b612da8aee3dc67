"""Languages of the pages: English, and those that have a catalogue or that a deployment offers."""

from pathlib import Path

from django.conf.locale import LANG_INFO
from django.core.exceptions import ImproperlyConfigured

from config.env import BASE_DIR, env

__all__ = ["LANGUAGES", "LANGUAGE_CODE", "LOCALE_PATHS"]

LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "validibot" / "locale"]


def languages(codes: list[str]) -> list[tuple[str, str]]:
    """Return the languages with their own names, English first. Raises ImproperlyConfigured."""
    wanted = dict.fromkeys([LANGUAGE_CODE, *codes])
    if unknown := [code for code in wanted if "name_local" not in LANG_INFO.get(code, {})]:
        raise ImproperlyConfigured(
            f"SITE_LANGUAGES has {unknown[0]!r}, which is no language that Django knows. Use codes"
            " such as de, fr or pt-br."
        )
    return [(code, LANG_INFO[code]["name_local"]) for code in wanted]


def _with_catalogue(folder: Path) -> list[str]:
    """Return the languages of the compiled catalogues, by the folders' names (`pt_BR`)."""
    found = sorted(path.parents[1].name for path in folder.glob("*/LC_MESSAGES/django.mo"))
    return [name.replace("_", "-").lower() for name in found]


LANGUAGES = languages(env.list("SITE_LANGUAGES", default=_with_catalogue(LOCALE_PATHS[0])))
