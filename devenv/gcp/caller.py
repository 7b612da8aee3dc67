"""The caller of a request, and what services need to know about callers and accounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from devenv.gcp.journal import OPERATOR


@dataclass(frozen=True, slots=True)
class AccessBoundary:
    """A Credential Access Boundary: the limits of a downscoped token.

    `rules` are (available resource, available roles, availability condition expression).
    """

    rules: tuple[tuple[str, tuple[str, ...], str], ...] = ()


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """The account behind a request; `email` is empty for an anonymous one.

    `boundary` and `scopes` limit its token; without scopes it has that of the cloud platform. A
    principal of a workload identity pool has its `principal://` name for an address, and `sets` are
    the principal sets that it belongs to.
    """

    email: str = ""
    boundary: AccessBoundary | None = None
    scopes: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    @property
    def anonymous(self) -> bool:
        return not self.email

    @property
    def is_operator(self) -> bool:
        """Whether this is the developer at the console, whom no policy limits."""
        return self.email == OPERATOR


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to an emulated API: its caller and its lower-cased headers."""

    caller: ApiCaller = field(default_factory=ApiCaller)
    headers: Mapping[str, str] = field(default_factory=dict)


class Guard(Protocol):
    """Decides whether a caller may do something."""

    def require(self, caller: ApiCaller, permission: str, resource: str) -> None:
        """Return if allowed, else raise PermissionDenied naming `permission` and a role that has it.

        `permission` is Google's (`run.jobs.run`); `resource` its full name
        (`projects/p/locations/r/jobs/j`, `projects/_/buckets/b`).
        """
        ...

    def allows(self, caller: ApiCaller, permission: str, resource: str) -> bool:
        """Return whether a binding grants `permission`, whatever the mode."""
        ...

    def forget(self, resource: str) -> None:
        """Remove the policy of a deleted resource, so that the next of its name has no rights."""
        ...


class Minter(Protocol):
    """Issues tokens for service accounts."""

    def knows(self, email: str) -> bool:
        """Return whether the project has this service account."""
        ...

    def id_token(self, email: str, audience: str) -> str:
        """Return a signed OIDC ID token for `email`, valid for one hour."""
        ...

    def access_token(self, email: str, *, scopes: tuple[str, ...] = ()) -> str:
        """Return an OAuth access token for `email`, valid for one hour."""
        ...


class Authenticator(Protocol):
    """Authenticates requests."""

    def caller(self, headers: Mapping[str, str]) -> ApiCaller:
        """Return the account of the `authorization: Bearer` access token in lower-cased headers.

        Raises Unauthenticated for a missing, unknown or expired token (unless IAM is `off`).
        """
        ...
