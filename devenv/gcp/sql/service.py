"""google.cloud.sql.v1 as the server wires it: instances, databases, users and operations.

The paths of v1 and those of v1beta4, which gcloud calls, have the same messages.
"""

import hashlib
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from devenv.gcp.caller import ApiCall, ApiCaller, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    Aborted,
    AlreadyExists,
    CloudError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
)
from devenv.gcp.messages import page, set_moment
from devenv.gcp.rpc import Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.sql.access import SqlAccess
from devenv.gcp.sql.backups import SqlBackups, SqlParts
from devenv.gcp.sql.contents import InstanceContents
from devenv.gcp.sql.contents_copy import ContentsCopy
from devenv.gcp.sql.methods import INSTANCE, INSTANCES, sql_rpc
from devenv.gcp.sql.operations import CLONE, Operation, SqlOperations
from devenv.gcp.sql.programs import SqlPrograms
from devenv.gcp.sql.records import (
    FAILED,
    PENDING_CREATE,
    PENDING_DELETE,
    RUNNABLE,
    Database,
    SqlRecords,
    User,
)
from devenv.gcp.sql.server import SqlServer
from devenv.gcp.sql.settings import Instance, changed_instance, check_name, new_instance
from devenv.gcp.sql.sockets import DatabaseSockets
from devenv.gcp.sql.transfers import SqlTransfers, TransferFiles
from devenv.gcp.store import Store

sqladmin = client_types("google.cloud.sqladmin_v1")

PrivateRange: TypeAlias = Callable[[str, str], ipaddress.IPv4Network]
"""Returns the range that Google's services have in a network, for an instance: (network, instance).

Raises InvalidArgument without a network, a connection or a range.
"""

_OPERATIONS = "projects/{project=*}/operations"
_LARGEST_PAGE = 500
_DEFAULT_USER = _DEFAULT_DATABASE = "postgres"
_FILTER = re.compile(r"name[:=]\"?([^\s\"]+)\"?")


class CloudSqlService(CloudService):
    """The instances of one project, and the sockets that lead to them from containers."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        data: Path,
        store: Store,
        clock: Clock,
        guard: Guard,
        private_range: PrivateRange,
    ) -> None:
        self._config = config
        self._private_range = private_range
        self._clock = clock
        self._guard = guard
        self._transaction = store.transaction
        self._records = SqlRecords(store)
        self._operations = SqlOperations(config.project, store, clock)
        self._server = SqlServer(config.sql_server)
        self._access = SqlAccess(config, guard, self._records, self._operations)
        self._contents = InstanceContents(
            config.project, self._access, self._records, self._operations, self._server
        )
        programs = SqlPrograms(self._server)
        parts = SqlParts(
            self._access,
            self._records,
            self._operations,
            self._server,
            programs,
            ContentsCopy(self._records, self._contents, self._server, programs),
        )
        self._backups = SqlBackups(parts, data / "sql_backups", store, clock)
        self._transfers = SqlTransfers(parts, self._backups, data / "sql_copies", self._new)
        self.sockets = DatabaseSockets(data, store, self._server, self._reach)

    def rpcs(self) -> Iterator[Rpc]:
        of, get, contents = sqladmin, "GET", self._contents
        database, user = f"{INSTANCE}/databases", f"{INSTANCE}/users"
        one = f"{database}/{{database=*}}"
        listed: tuple[Any, ...] = (
            of.InstancesListResponse.pb(),
            of.DatabasesListResponse.pb(),
            of.UsersListResponse.pb(),
            of.OperationsListResponse.pb(),
        )
        for method, response, handle, verb, path in (
            ("Instances.Insert", Operation, self.insert, "POST", INSTANCES),
            ("Instances.Get", Instance, self.get, get, INSTANCE),
            ("Instances.List", listed[0], self.list, get, INSTANCES),
            ("Instances.Patch", Operation, self.patch, "PATCH", INSTANCE),
            ("Instances.Update", Operation, self.update, "PUT", INSTANCE),
            ("Instances.Delete", Operation, self.delete, "DELETE", INSTANCE),
            ("Databases.Insert", Operation, contents.insert_database, "POST", database),
            ("Databases.Get", Database, contents.get_database, get, one),
            ("Databases.List", listed[1], contents.list_databases, get, database),
            ("Databases.Delete", Operation, contents.delete_database, "DELETE", one),
            ("Users.Insert", Operation, contents.insert_user, "POST", user),
            ("Users.Get", User, contents.get_user, get, f"{user}/{{name=*}}"),
            ("Users.List", listed[2], contents.list_users, get, user),
            ("Users.Update", Operation, contents.update_user, "PUT", user),
            ("Users.Delete", Operation, contents.delete_user, "DELETE", user),
            (
                "Operations.Get",
                Operation,
                self.get_operation,
                get,
                f"{_OPERATIONS}/{{operation=*}}",
            ),
            ("Operations.List", listed[3], self.list_operations, get, _OPERATIONS),
        ):
            yield sql_rpc(method, response, handle, verb, path)
        yield from self._backups.rpcs()
        yield from self._transfers.rpcs()

    def use_storage(self, files: TransferFiles) -> None:
        """Let exports and imports use a Cloud Storage."""
        self._transfers.files = files

    async def start(self) -> None:
        self._operations.start(self._resumed)
        self._backups.start()
        if self._server:
            self.sockets.start()

    async def stop(self) -> None:
        await self.sockets.stop()
        await self._backups.stop()
        await self._operations.stop()

    # Instances

    async def insert(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.project, call, "instances.create")
        given = request.body
        if given.region not in ("", self._config.region):
            raise InvalidArgument(
                f"region is {given.region[:60]!r}; only {self._config.region} is emulated."
            )
        instance = self._new(new_instance(given))
        with self._transaction():
            self._records.put_instance(instance)
            self._records.put_root_password(given.name, given.root_password)
            return self._operations.begin(
                call, "CREATE", given.name, lambda: self._create(given.name)
            )

    def _new(self, instance: Any) -> Any:
        """Return an instance in creation with what Google adds. Raises CloudError."""
        check_name(self._config.project, instance.name)
        if instance.name in self._records.instances():
            raise AlreadyExists(
                "The Cloud SQL instance already exists. When you delete an instance, you can't reuse "
                "the name of the deleted instance until one week from the deletion date.",
                reason="instanceAlreadyExists",
            )
        self._identify(instance)
        instance.state = PENDING_CREATE
        return instance

    async def get(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.project, call, "instances.get", request.instance)
        return self._records.instance(request.instance)

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.project, call, "instances.list")
        found = self._records.instances()
        if request.filter:
            match = _FILTER.fullmatch(request.filter)
            if match is None:
                raise Unimplemented("filter must be name:NAME; others are not emulated.")
            found = {name: each for name, each in found.items() if name == match[1]}
        names, token = page(
            found, size=request.max_results, token=request.page_token, most=_LARGEST_PAGE
        )
        return sqladmin.InstancesListResponse.pb()(
            kind="sql#instancesList", items=[found[name] for name in names], next_page_token=token
        )

    async def patch(self, request: Any, call: ApiCall) -> Any:
        return self._change(request, call, whole=False)

    async def update(self, request: Any, call: ApiCall) -> Any:
        return self._change(request, call, whole=True)

    def _change(self, request: Any, call: ApiCall, *, whole: bool) -> Any:
        before = self._access.changeable(request, call, "instances.update")
        after = changed_instance(before, request.body, whole=whole)
        self._address(after)

        async def work() -> None:
            self._records.put_instance(after)
            self._backups.follow()

        return self._operations.begin(call, "UPDATE", before.name, work)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "instances.delete")
        if instance.settings.deletion_protection_enabled.value:
            raise InvalidArgument(
                "The instance is protected. Please disable the deletion protection and try again. To "
                "disable deletion protection, update the instance settings with "
                "deletionProtectionEnabled set to false."
            )
        instance.state = PENDING_DELETE
        with self._transaction():
            self._records.put_instance(instance)
            return self._operations.begin(
                call, "DELETE", instance.name, lambda: self._delete(instance.name)
            )

    # Operations

    async def get_operation(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.project, call, "instances.get")
        found = self._operations.get(request.operation)
        if found is None:
            raise NotFound("The requested operation does not exist.")
        return found

    async def list_operations(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.project, call, "instances.get")
        items = [e for e in self._operations.all() if request.instance in ("", e.target_id)]
        most = request.max_results or len(items)
        return sqladmin.OperationsListResponse.pb()(kind="sql#operationsList", items=items[:most])

    def _resumed(self, operation: Any) -> Callable[[], Awaitable[None]]:
        """Return the work of an operation that a stop of the emulator interrupted."""
        name = operation.target_id

        async def lost() -> None:
            raise Aborted("The emulated cloud was stopped during the operation: repeat it.")

        async def undone() -> None:
            await self._delete(name)
            await lost()

        if operation.operation_type == CLONE:
            return undone
        states = {PENDING_CREATE: self._create, PENDING_DELETE: self._delete}
        try:
            work = states.get(self._records.instance(name).state)
        except NotFound:
            work = None
        return (lambda: work(name)) if work else lost

    # Work

    async def _create(self, name: str) -> None:
        instance = self._records.instance(name)
        try:
            await self._server.create_instance(name)
            await self._server.create_database(name, _DEFAULT_DATABASE)
            await self._server.put_user(name, _DEFAULT_USER, self._records.root_password(name))
        except CloudError:
            self._end_creation(instance, FAILED)
            raise
        self._contents.keep_database(name, _DEFAULT_DATABASE)
        self._contents.keep_user(name, _DEFAULT_USER)
        self._end_creation(instance, RUNNABLE)

    def _end_creation(self, instance: Any, state: int) -> None:
        instance.state = state
        with self._transaction():
            self._records.put_instance(instance)
            self._records.forget_root_password(instance.name)
        self._backups.follow()

    async def _delete(self, name: str) -> None:
        databases = [each.name for each in self._records.below(Database, name)]
        users = [each.name for each in self._records.below(User, name)]
        await self._server.delete_instance(name, databases, users)
        self._backups.forget(name)
        await self.sockets.forget(self._records.instance(name).connection_name)
        self._records.delete_instance(name)

    # Names and rights

    def _identify(self, instance: Any) -> None:
        """Fill in what Google adds to a new instance."""
        config = self._config
        instance.kind, instance.project = "sql#instance", config.project
        instance.region = config.region
        instance.gce_zone = f"{config.region}-a"
        instance.connection_name = f"{config.project}:{config.region}:{instance.name}"
        instance.self_link = self._access.link(instance.name)
        account = f"p{config.number}-{hashlib.sha256(instance.name.encode()).hexdigest()[:6]}"
        instance.service_account_email_address = (
            f"{account}@gcp-sa-cloud-sql.iam.gserviceaccount.com"
        )
        instance.instance_type, instance.backend_type = 1, 2  # CLOUD_SQL_INSTANCE, SECOND_GEN
        set_moment(instance.create_time, self._clock.now())
        self._address(instance)

    def _address(self, instance: Any) -> None:
        """Give an instance addresses of the kinds that it wants; nobody listens there."""
        network = instance.settings.ip_configuration
        number = int(hashlib.sha256(instance.name.encode()).hexdigest()[:2], 16)
        instance.ClearField("ip_addresses")
        if network.ipv4_enabled.value:
            instance.ip_addresses.add(type_=1, ip_address=f"203.0.113.{number}")
        if network.private_network:
            within = self._private_range(network.private_network, instance.name)
            address = within[1 + number % (within.num_addresses - 2)]
            instance.ip_addresses.add(type_=3, ip_address=str(address))

    def networks_in_use(self) -> Iterator[str]:
        """Yield the names of the networks in which instances have addresses."""
        for instance in self._records.instances().values():
            if network := instance.settings.ip_configuration.private_network:
                yield network.rpartition("/")[2]

    def _reach(self, account: str, connection: str) -> str:
        """Return the instance of a connection name that an account may connect to."""
        instance = connection.rpartition(":")[2]
        resource = self._access.resource(instance)
        try:
            self._guard.require(ApiCaller(account), "cloudsql.instances.connect", resource)
        except PermissionDenied as error:
            raise FailedPrecondition(
                f"{account} lacks cloudsql.instances.connect on {resource}: "
                "roles/cloudsql.client has it"
            ) from error
        if not self._server:
            raise FailedPrecondition("there is no PostgreSQL: set gcp.sql_server in devenv.toml")
        found = self._records.instance(instance)
        if found.state != RUNNABLE or found.connection_name != connection:
            raise NotFound(f"The Cloud SQL instance {connection} does not exist or is not ready.")
        return instance
