"""Words for the states, results and severities that the API gives as codes."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

WORDS: Mapping[str, Promise] = {
    "PENDING": gettext_lazy("Queued"),
    "HELD": gettext_lazy("Waiting"),
    "RUNNING": gettext_lazy("Running"),
    "PASS": gettext_lazy("Passed"),
    "PASSED": gettext_lazy("Passed"),
    "FAIL": gettext_lazy("Failed"),
    "FAILED": gettext_lazy("Failed"),
    "SKIPPED": gettext_lazy("Skipped"),
    "CANCELED": gettext_lazy("Cancelled"),
    "TIMED_OUT": gettext_lazy("Timed out"),
    "ERROR": gettext_lazy("Error"),
    "WARNING": gettext_lazy("Warning"),
    "INFO": gettext_lazy("Info"),
    "ON": gettext_lazy("On"),
    "OFF": gettext_lazy("Off"),
    "FAILING": gettext_lazy("Failing"),
    "EXPIRED": gettext_lazy("Expired"),
    "REVOKED": gettext_lazy("Revoked"),
}


def word_of(code: str) -> str:
    """Return the word for a code on pages and in mails; a code without one as it is."""
    return str(WORDS.get(code, code))
