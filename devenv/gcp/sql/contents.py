"""Databases and users of Cloud SQL instances."""

import re
from typing import Any

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.errors import AlreadyExists, InvalidArgument, NotFound, Unimplemented
from devenv.gcp.messages import every, refuse_unemulated
from devenv.gcp.sql.access import SqlAccess
from devenv.gcp.sql.operations import SqlOperations
from devenv.gcp.sql.records import Database, SqlRecords, User
from devenv.gcp.sql.server import SqlServer

sqladmin = client_types("google.cloud.sqladmin_v1")

_NAME = re.compile(r"[^\0/]{1,63}")


class InstanceContents:
    """The methods about databases and users, which the server of all instances really gets."""

    def __init__(
        self,
        project: str,
        access: SqlAccess,
        records: SqlRecords,
        operations: SqlOperations,
        server: SqlServer,
    ) -> None:
        self._project = project
        self._access = access
        self._records = records
        self._operations = operations
        self._server = server

    # Databases

    async def insert_database(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "databases.create")
        given = request.body
        refuse_unemulated(
            given,
            every("name", "charset", "collation", "project", "instance", "kind"),
            where="database",
        )
        _check_name("database.name", given.name)
        if given.charset not in ("", "UTF8"):
            raise Unimplemented("database.charset must be UTF8.")
        if self._records.find(Database, instance.name, given.name):
            raise AlreadyExists(f'Invalid request: database "{given.name}" already exists.')

        async def work() -> None:
            await self._server.create_database(instance.name, given.name)
            self.keep_database(instance.name, given.name, given.collation)

        return self._operations.begin(call, "CREATE_DATABASE", instance.name, work)

    async def get_database(self, request: Any, call: ApiCall) -> Any:
        self._access.readable(request, call, "databases.get")
        return self._existing(Database, request.instance, request.database)

    async def list_databases(self, request: Any, call: ApiCall) -> Any:
        self._access.readable(request, call, "databases.list")
        items = self._records.below(Database, request.instance)
        return sqladmin.DatabasesListResponse.pb()(kind="sql#databasesList", items=items)

    async def delete_database(self, request: Any, call: ApiCall) -> Any:
        instance, name = (
            self._access.changeable(request, call, "databases.delete").name,
            request.database,
        )
        self._existing(Database, instance, name)

        async def work() -> None:
            await self._server.drop_database(instance, name)
            self._records.delete(Database, instance, name)

        return self._operations.begin(call, "DELETE_DATABASE", instance, work)

    # Users

    async def insert_user(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "users.create").name
        given = _checked_user(request.body)
        if self._records.find(User, instance, given.name):
            raise AlreadyExists(f'Invalid request: role "{given.name}" already exists.')
        return self._set_user(call, "CREATE_USER", instance, given.name, given.password)

    async def get_user(self, request: Any, call: ApiCall) -> Any:
        self._access.readable(request, call, "users.get")
        return self._existing(User, request.instance, request.name)

    async def list_users(self, request: Any, call: ApiCall) -> Any:
        self._access.readable(request, call, "users.list")
        items = self._records.below(User, request.instance)
        return sqladmin.UsersListResponse.pb()(kind="sql#usersList", items=items)

    async def update_user(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "users.update").name
        name = request.name or request.body.name
        self._existing(User, instance, name)
        given = User()
        given.CopyFrom(request.body)
        given.name = name
        return self._set_user(call, "UPDATE_USER", instance, name, _checked_user(given).password)

    async def delete_user(self, request: Any, call: ApiCall) -> Any:
        instance, name = self._access.changeable(request, call, "users.delete").name, request.name
        self._existing(User, instance, name)

        async def work() -> None:
            await self._server.drop_user(instance, name)
            self._records.delete(User, instance, name)

        return self._operations.begin(call, "DELETE_USER", instance, work)

    def _set_user(self, call: ApiCall, kind: str, instance: str, user: str, password: str) -> Any:
        async def work() -> None:
            await self._server.put_user(instance, user, password)
            self.keep_user(instance, user)

        return self._operations.begin(call, kind, instance, work)

    def keep_database(self, instance: str, name: str, collation: str = "") -> None:
        """Keep the record of a database that was made."""
        self._records.put(
            Database(
                kind="sql#database",
                charset="UTF8",
                collation=collation or "en_US.UTF8",
                name=name,
                instance=instance,
                project=self._project,
                self_link=f"{self._access.link(instance)}/databases/{name}",
            )
        )

    def keep_user(self, instance: str, name: str) -> None:
        """Keep the record of a user that was made."""
        self._records.put(
            User(kind="sql#user", name=name, instance=instance, project=self._project)
        )

    def _existing(self, kind: Any, instance: str, name: str) -> Any:
        found = self._records.find(kind, instance, name)
        if found is None:
            what = "database" if kind is Database else "user"
            raise NotFound(f'Invalid request: {what} "{name[:100]}" does not exist.')
        return found


def _check_name(where: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{where} is {name[:100]!r}; it must have 1 to 63 characters, no slash."
        )


def _checked_user(given: Any) -> Any:
    """Return a user that PostgreSQL can have. Raises InvalidArgument or Unimplemented."""
    fields = every("name", "password", "host", "project", "instance", "kind")
    refuse_unemulated(given, fields, where="user")
    _check_name("user.name", given.name)
    if not given.password:
        raise InvalidArgument("user.password is required for a user of the type BUILT_IN.")
    return given
