"""The service accounts of the emulated project: those of devenv.toml, and those made by API.

Each account is a record of `google.iam.admin.v1.ServiceAccount` in the store. An account that
devenv.toml no longer declares is deleted at the next start. Like every project with Compute Engine,
this one has the default account `NUMBER-compute@developer.gserviceaccount.com`, here without roles.

A deleted account is kept under its unique id, so that it can be restored. A new account of the same
address has another unique id, no keys and no rights:
https://cloud.google.com/iam/docs/service-accounts-delete-undelete.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.store import DeclaredNames, Store, Transaction

admin = client_types("google.cloud.iam_admin_v1")

AccountRecord: Any = admin.ServiceAccount.pb()


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The identity of a workload; `name` is its name in devenv.toml, the part before the @."""

    name: str
    email: str
    unique_id: str
    disabled: bool = False


class Accounts:
    """The live accounts, found by email, unique id or short name; and the deleted ones."""

    def __init__(self, config: CloudConfig, store: Store) -> None:
        self._project = config.project
        self._store = store
        self._table = store.table("iam_accounts")
        self._deleted = store.table("iam_deleted_accounts")
        self._found: dict[str, ServiceAccount] = {}
        self._load()
        with store.transaction():
            self._follow_file(config, DeclaredNames(store.table("iam_declared_accounts")))
        self._index()

    def __iter__(self) -> Iterator[ServiceAccount]:
        return iter({account.email: account for account in self._found.values()}.values())

    def get(self, name: str) -> ServiceAccount | None:
        """Return the live account called `name`, if there is one."""
        return self._found.get(name)

    def record(self, email: str) -> Any:
        """Return a copy of the record of a live account."""
        record = AccountRecord()
        record.CopyFrom(self._records[email])
        return record

    def records(self) -> list[Any]:
        """Return the records of the live accounts, by address."""
        return [self._records[email] for email in sorted(self._records)]

    def create(self, email: str, *, unique_id: str = "") -> Any:
        """Store a new account and return its record; without `unique_id` it gets a random one."""
        record = AccountRecord(
            name=f"projects/{self._project}/serviceAccounts/{email}",
            project_id=self._project,
            unique_id=unique_id or f"1{secrets.randbelow(10**20):020d}",
            email=email,
        )
        record.oauth2_client_id = record.unique_id
        self._deleted.delete(record.unique_id)  # a declared one that is declared again
        return self.put(record)

    def put(self, record: Any) -> Any:
        """Store a changed record under a new etag, and return it."""
        record.etag = secrets.token_bytes(9)
        self._table.put(record.email, record.SerializeToString())
        self._records[record.email] = record
        self._index()
        return record

    def transaction(self, rolled_back: Callable[[], None]) -> Transaction:
        """Write all changes inside, or none; then memory is read again, also that of `rolled_back`."""

        def load() -> None:
            self._load()
            rolled_back()

        return self._store.transaction(load)

    def delete(self, email: str) -> None:
        """Delete an account, so that `restore` can bring it back. Call it in a transaction."""
        record = self._records.pop(email)
        self._deleted.put(record.unique_id, record.SerializeToString())
        self._table.delete(email)
        self._index()

    def deleted(self, unique_id: str) -> Any | None:
        """Return the record of a deleted account, None if there is none."""
        value = self._deleted.get(unique_id)
        return None if value is None else AccountRecord.FromString(value)

    def restore(self, record: Any) -> Any:
        """Bring a deleted account back under its address, which no other has, and return it.

        Call it in a transaction.
        """
        self._deleted.delete(record.unique_id)
        return self.put(record)

    def _load(self) -> None:
        self._records = {key: AccountRecord.FromString(v) for key, v in self._table.scan()}
        self._index()

    def _follow_file(self, config: CloudConfig, declared: DeclaredNames) -> None:
        wanted = {config.email(name) for name in config.accounts} | {config.default_account}
        for email in declared.replace(wanted):
            if email in self._records:
                del self._records[email]
                self._table.delete(email)
        for email in sorted(wanted - set(self._records)):
            self.create(email, unique_id=_fixed_id(email))

    def _index(self) -> None:
        live = [
            ServiceAccount(email.partition("@")[0], email, record.unique_id, record.disabled)
            for email, record in self._records.items()
        ]
        self._found = {
            key: account
            for account in live
            for key in (account.name, account.unique_id, account.email)
        }


def _fixed_id(email: str) -> str:
    """Return the 21 digits of a declared account, the same in every run."""
    digest = int.from_bytes(hashlib.sha256(email.encode()).digest())
    return f"1{digest % 10**20:020d}"
