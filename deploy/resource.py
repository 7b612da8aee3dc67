"""A resource in Google Cloud, as one file of `deploy/resources` describes each kind.

A resource is compared as plain data: `desired` returns the settings that the stage wants, `read` those
that the cloud has, both with the same keys. The differences between the two are the plan; nothing
else is remembered, so an interrupted `apply` leaves nothing behind that the next one does not see.
"""

import hashlib
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

type Settings = Mapping[str, Any]

_SECRET_NAME = re.compile(
    r"KEY|SECRET|TOKEN|PASS(WORD|WD|PHRASE)?(_|$)|PEPPER|CREDENTIAL|DSN|PRIVATE|SIGNATURE|SALT"
)
# Addresses with a password or a key in them, private keys, tokens with a known prefix, and texts with
# as much variety as only random ones have.
_SECRET_VALUE = re.compile(
    r"://[^/@\s]*:[^/@\s]+@|[?&;](api_?key|key|pass(word)?|secret|sig|token)=[^&\s]|-----BEGIN "
    r"|\b(sk-|vbk_|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|AKIA|AIza|ya29\.|SG\.|eyJ|hf_|ak-|as-)[\w.-]{8}"
    r"|\b[0-9a-fA-F]{32,}\b"
    r"|(?<![\w+/=-])(?=[\w+/=-]*[a-z])(?=[\w+/=-]*[A-Z])(?=[\w+/=-]*[0-9])[\w+/=-]{20,}"
)
# Names of secrets, and accounts that read some.
_NOT_SECRET = frozenset({"DEPLOYED_SECRETS", "CUSTOM_VALIDATOR_SECRET_ACCOUNTS"})
_DIGEST_LENGTH = 8


class Resource(ABC):
    """One resource of a stage.

    `read`, `create`, `update` and `delete` call Google and raise its clients' errors.
    """

    kind: ClassVar[str]
    # Whether deleting it deletes what users stored.
    holds_data: ClassVar[bool] = False
    # Whether `destroy` leaves it alone: it belongs to the project rather than to one stage.
    is_shared: ClassVar[bool] = False
    name: str

    @property
    def address(self) -> str:
        """The name of the resource in plans and messages, such as `queue/prod-runs`."""
        return f"{self.kind}/{self.name}"

    @abstractmethod
    def desired(self) -> Settings:
        """Return the settings that the stage wants: text, numbers, lists and nested mappings."""

    @abstractmethod
    def read(self) -> Settings | None:
        """Return the settings that the resource has, None if it does not exist."""

    @abstractmethod
    def create(self) -> None:
        """Create the resource as desired."""

    @abstractmethod
    def update(self, current: Settings) -> None:
        """Bring the existing resource, which has the settings `current`, in line."""

    @abstractmethod
    def delete(self) -> None:
        """Delete the resource."""

    @abstractmethod
    def gcloud(self, action: str, current: Settings) -> list[str]:
        """Return the commands that do the same: `action` is create, update or delete."""

    def note(self, current: Settings) -> str:
        """Return a sentence about what an update of the settings `current` cannot do, or no text."""
        return ""


def command(*words: str, **flags: Any) -> str:
    """Return a gcloud command line; a flag `max_attempts=3` is `--max-attempts=3`.

    A flag with True has no value; one with None, False or an empty text is left out.
    """
    parts = ["gcloud", *words]
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            parts.append(flag)
        elif value not in (None, False, ""):
            parts.append(f"{flag}={value}")
    return shlex.join(parts)


def shown_variable(name: str, value: str) -> str:
    """Return the value of a variable for people; one that may be a secret only as its digest."""
    if name in _NOT_SECRET or not (_SECRET_NAME.search(name) or _SECRET_VALUE.search(value)):
        return value
    return f"hidden-sha256-{hashlib.sha256(value.encode()).hexdigest()[:_DIGEST_LENGTH]}"


def made_for(stage: str) -> str:
    """Return the description by which resources without labels are found again."""
    return f"Made by deploy for the stage {stage}"


def pairs(values: Mapping[str, Any]) -> str:
    """Return `a=1,b=2`, as gcloud takes labels and variables."""
    return ",".join(f"{key}={value}" for key, value in values.items())
