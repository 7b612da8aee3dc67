"""A resource in Google Cloud, as one file of `deploy/resources` describes each kind.

A resource is compared as plain data: `desired` returns the settings that the stage wants, `read` those
that the cloud has, both with the same keys. The differences between the two are the plan; nothing
else is remembered, so an interrupted `apply` leaves nothing behind that the next one does not see.
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

type Settings = Mapping[str, Any]


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


def made_for(stage: str) -> str:
    """Return the description by which resources without labels are found again."""
    return f"Made by deploy for the stage {stage}"


def pairs(values: Mapping[str, Any]) -> str:
    """Return `a=1,b=2`, as gcloud takes labels and variables."""
    return ",".join(f"{key}={value}" for key, value in values.items())
