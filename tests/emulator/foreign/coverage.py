"""Methods of the emulated cloud that Google's clients of a language have called."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import httpx

from devenv.gcp import Cloud

# Rows of the journal that are no method of an API.
_NO_METHODS = ("deliver", "run.attempt")
_LIMIT = 1000


class MethodCoverage:
    """The methods that were called with success since this object was made."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        newest = self._rows(limit=1)
        self._first = newest[0]["id"] if newest else 0

    def methods(self) -> set[str]:
        """Return the methods, by the names of the journal."""
        found: set[str] = set()
        before = 0
        while rows := self._rows(limit=_LIMIT, before=before):
            new = [row for row in rows if row["id"] > self._first]
            found |= {row["method"] for row in new if _is_success(row["status"])}
            if len(new) < len(rows):
                break
            before = rows[-1]["id"]
        return found

    def check(self, language: str, exceptions: Mapping[str, str]) -> None:
        """Assert that each method was called, but for `exceptions`: patterns, each with its reason.

        An exception that matches nothing, or a method that was called, is out of date.
        """
        called = self.methods()
        served = set(self._cloud.methods) - set(_NO_METHODS)
        excepted = {each: [m for m in served if fnmatchcase(m, each)] for each in exceptions}
        missing = served - called - {method for found in excepted.values() for method in found}
        assert not missing, f"{language} calls none of these with success: {sorted(missing)}"
        for pattern, found in excepted.items():
            assert found, f"{language}: no method matches the exception {pattern!r}"
            extra = sorted(called & set(found))
            assert not extra, f"{language}: called in spite of the exception {pattern!r}: {extra}"

    def _rows(self, **query: int) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"{self._cloud.plain_url}/_devenv/journal",
            params=query,
            headers={"Authorization": f"Bearer {self._cloud.control_token}"},
            trust_env=False,
        )
        rows: list[dict[str, Any]] = answer.raise_for_status().json()["calls"]
        return rows


def _is_success(status: str) -> bool:
    """Return whether a status of the journal, of gRPC or HTTP, is none of an error.

    A client cancels a stream that it has read enough of.
    """
    return status in ("OK", "CANCELLED") or status[:1] in ("2", "3")
