"""The instances, databases and users that the store has."""

from collections.abc import Iterator
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.errors import NotFound
from devenv.gcp.sql.settings import Instance
from devenv.gcp.store import Store

sqladmin = client_types("google.cloud.sqladmin_v1")

Database: Any = sqladmin.Database.pb()
User: Any = sqladmin.User.pb()
RUNNABLE, PENDING_DELETE, PENDING_CREATE, FAILED = 1, 3, 4, 6


class SqlRecords:
    """The records of a project; databases and users by the name of their instance and their own."""

    def __init__(self, store: Store) -> None:
        self._instances = store.table("sql_instances")
        self._root_passwords = store.table("sql_root_passwords")
        self._below = {
            Database: store.table("sql_databases"),
            User: store.table("sql_users"),
        }

    def instances(self) -> dict[str, Any]:
        return {name: Instance.FromString(value) for name, value in self._instances.scan()}

    def instance(self, name: str) -> Any:
        """Return an instance. Raises NotFound."""
        value = self._instances.get(name)
        if value is None:
            raise NotFound("The Cloud SQL instance does not exist.", reason="instanceDoesNotExist")
        return Instance.FromString(value)

    def put_instance(self, instance: Any) -> None:
        self._instances.put(instance.name, instance.SerializeToString())

    def delete_instance(self, name: str) -> None:
        for kind in self._below:
            for each in list(self.below(kind, name)):
                self.delete(kind, name, each.name)
        self._instances.delete(name)

    def root_password(self, instance: str) -> str:
        """Return the password that an instance in creation gets; nothing if it gets none."""
        return (self._root_passwords.get(instance) or b"").decode()

    def put_root_password(self, instance: str, password: str) -> None:
        """Keep a password until the creation of the instance has ended."""
        self._root_passwords.put(instance, password.encode())

    def forget_root_password(self, instance: str) -> None:
        self._root_passwords.delete(instance)

    def below(self, kind: Any, instance: str) -> Iterator[Any]:
        """Yield the databases or users of an instance by name."""
        for _, value in self._below[kind].scan(f"{instance}/"):
            yield kind.FromString(value)

    def find(self, kind: Any, instance: str, name: str) -> Any | None:
        """Return a database or user, None if there is none."""
        value = self._below[kind].get(f"{instance}/{name}")
        return None if value is None else kind.FromString(value)

    def put(self, record: Any) -> None:
        """Keep a database or user, a user without the password."""
        kept = type(record)()
        kept.CopyFrom(record)
        if isinstance(record, User):
            kept.ClearField("password")
        self._below[type(record)].put(f"{record.instance}/{record.name}", kept.SerializeToString())

    def delete(self, kind: Any, instance: str, name: str) -> None:
        self._below[kind].delete(f"{instance}/{name}")
