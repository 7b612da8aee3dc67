"""The service accounts of a project."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from devenv.gcp.config import CloudConfig


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A workload's identity; `name` is what devenv.toml calls it."""

    name: str
    email: str

    @property
    def unique_id(self) -> str:
        """The 21 digits that Google puts in `sub` and `azp`; the same in every run."""
        digest = int.from_bytes(hashlib.sha256(self.email.encode()).digest())
        return f"1{digest % 10**20:020d}"


class Accounts:
    """Which service accounts exist; they can be named by e-mail, unique id or short name."""

    def __init__(self, config: CloudConfig) -> None:
        self._accounts = tuple(ServiceAccount(a, config.email(a)) for a in config.accounts)
        self._by_name = {
            key: account
            for account in self._accounts
            for key in (account.name, account.unique_id, account.email)
        }

    def __iter__(self) -> Iterator[ServiceAccount]:
        return iter(self._accounts)

    def get(self, name: str) -> ServiceAccount | None:
        """Return the account called `name`, if there is one."""
        return self._by_name.get(name)
