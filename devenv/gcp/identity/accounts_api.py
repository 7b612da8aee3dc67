"""Service accounts by API: `google.iam.admin.v1.IAM` over gRPC and REST, without their keys.

After https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts. Names may have
the project's id or `-`, and the account's address or unique id. A deleted account keeps its roles
under a name of its own, `deleted:serviceAccount:EMAIL?uid=ID`, and gets them back when it is
restored.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeAlias

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    wrong_project,
)
from devenv.gcp.identity.accounts import AccountRecord, ServiceAccount
from devenv.gcp.identity.identity import Identity
from devenv.gcp.messages import page
from devenv.gcp.rpc import HttpRule, Rpc

admin = client_types("google.cloud.iam_admin_v1")

_PROJECT = "/v1/{name=projects/*}/serviceAccounts"
_ACCOUNT = "/v1/{name=projects/*/serviceAccounts/*}"
_ACCOUNT_ID = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])")
_SETTABLE = {"display_name", "description"}
_LONGEST_NAME, _LONGEST_DESCRIPTION = 100, 256
_MOST_ACCOUNTS = 100  # https://cloud.google.com/iam/quotas
_LARGEST_PAGE = 100

Handler: TypeAlias = Callable[[Any, ApiCall], Awaitable[Any]]


class MemberNames(Protocol):
    """The policies of the project, which name accounts as members."""

    def rename_member(self, before: str, after: str) -> None:
        """Put another member in a member's place, in all policies."""
        ...

    def load(self) -> None:
        """Read the policies again, after a transaction that was rolled back."""
        ...


class AccountsApi:
    """The methods for the accounts of one project.

    `opened` and `closed` are called with an account that has come and one that has gone.
    """

    def __init__(
        self,
        *,
        config: CloudConfig,
        identity: Identity,
        guard: Guard,
        members: MemberNames,
        opened: Callable[[ServiceAccount], None],
        closed: Callable[[ServiceAccount], None],
    ) -> None:
        self._config = config
        self._identity = identity
        self._accounts = identity.accounts
        self._guard = guard
        self._members = members
        self._opened = opened
        self._closed = closed

    def rpcs(self) -> Iterator[Rpc]:
        lists = admin.ListServiceAccountsResponse.pb()
        restored, empty = admin.UndeleteServiceAccountResponse.pb(), empty_pb2.Empty
        nested = _ACCOUNT.replace("{name", "{service_account.name")
        methods: tuple[tuple[str, Any, Handler, str, str], ...] = (
            ("CreateServiceAccount", AccountRecord, self.create, "POST", _PROJECT),
            ("ListServiceAccounts", lists, self.list, "GET", _PROJECT),
            ("GetServiceAccount", AccountRecord, self.get, "GET", _ACCOUNT),
            ("DeleteServiceAccount", empty, self.delete, "DELETE", _ACCOUNT),
            ("PatchServiceAccount", AccountRecord, self.patch, "PATCH", nested),
            ("UndeleteServiceAccount", restored, self.undelete, "POST", f"{_ACCOUNT}:undelete"),
            ("EnableServiceAccount", empty, self.enable, "POST", f"{_ACCOUNT}:enable"),
            ("DisableServiceAccount", empty, self.disable, "POST", f"{_ACCOUNT}:disable"),
            ("UpdateServiceAccount", AccountRecord, self.update, "PUT", _ACCOUNT),
        )
        for name, response, handle, verb, path in methods:
            is_update = name == "UpdateServiceAccount"
            request = AccountRecord if is_update else getattr(admin, f"{name}Request").pb()
            rule = HttpRule(verb, path, "*" if verb in ("POST", "PATCH", "PUT") else "")
            yield Rpc(f"google.iam.admin.v1.IAM/{name}", request, response, handle, (rule,))

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(call, "create", self._project(request.name))
        account_id, given = request.account_id, request.service_account
        if not 6 <= len(account_id) <= 30:
            raise InvalidArgument(
                f"The account ID {account_id[:100]!r} does not have a length between 6 and 30."
            )
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise InvalidArgument(
                f'The account ID "{account_id}" does not match the pattern "{_ACCOUNT_ID.pattern}".'
            )
        _check_texts(given)
        email = self._config.email(account_id)
        if self._accounts.get(email):
            raise AlreadyExists(
                f"Service account {account_id} already exists within project "
                f"projects/{self._config.project}."
            )
        if len(self._accounts.records()) >= _MOST_ACCOUNTS:
            raise ResourceExhausted("Maximum number of service accounts on project reached.")
        # The address may have been that of a deleted account: its keys and policy go for good.
        for key in self._identity.user_keys.of(email):
            self._identity.user_keys.delete(email, key.kid)
        self._guard.forget(self._resource(email))
        record = self._accounts.create(email)
        record.display_name, record.description = given.display_name, given.description
        return self._come(self._accounts.put(record))

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._allow(call, "list", self._project(request.name))
        found = {record.email: record for record in self._accounts.records()}
        emails, token = page(
            found, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        return admin.ListServiceAccountsResponse.pb()(
            accounts=[found[email] for email in emails], next_page_token=token
        )

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._find(request.name, call, "get")

    async def patch(self, request: Any, call: ApiCall) -> Any:
        given, paths = request.service_account, set(request.update_mask.paths)
        record = self._find(given.name, call, "update")
        if not paths:
            raise InvalidArgument("update_mask is required: display_name, description or both.")
        if unknown := sorted(paths - _SETTABLE):
            raise InvalidArgument(
                f"update_mask names {unknown[0][:100]}; only display_name and description can be "
                "changed."
            )
        return self._change(record, given, paths)

    async def update(self, request: Any, call: ApiCall) -> Any:
        """Change the display name alone; Google calls the method an old one."""
        record = self._find(request.name, call, "update")
        return self._change(record, request, {"display_name"})

    async def delete(self, request: Any, call: ApiCall) -> Any:
        record = self._find(request.name, call, "delete")
        account = self._identity.account(record.email)
        with self._accounts.transaction(self._members.load):
            self._accounts.delete(record.email)
            self._members.rename_member(_member(record), _deleted_member(record))
        self._closed(account)
        return empty_pb2.Empty()

    async def undelete(self, request: Any, call: ApiCall) -> Any:
        """Restore an account by its unique id, unless a new one has its address."""
        name = self._name(request.name)
        record = self._accounts.deleted(name)
        self._allow(call, "undelete", self._resource(record.email if record else name))
        if record is None:
            raise NotFound(f"Service account {name[:100]} was not deleted, or does not exist.")
        if self._accounts.get(record.email):
            raise AlreadyExists(f"Another service account is {record.email}; delete it first.")
        with self._accounts.transaction(self._members.load):
            restored = self._accounts.restore(record)
            self._members.rename_member(_deleted_member(record), _member(record))
        return admin.UndeleteServiceAccountResponse.pb()(restored_account=self._come(restored))

    async def enable(self, request: Any, call: ApiCall) -> Any:
        return self._switch(request.name, call, "enable", disabled=False)

    async def disable(self, request: Any, call: ApiCall) -> Any:
        return self._switch(request.name, call, "disable", disabled=True)

    def _switch(self, name: str, call: ApiCall, verb: str, *, disabled: bool) -> Any:
        record = self._find(name, call, verb)
        record.disabled = disabled
        self._accounts.put(record)
        return empty_pb2.Empty()

    def _come(self, record: Any) -> Any:
        self._opened(self._identity.account(record.email))
        return record

    def _change(self, record: Any, given: Any, fields: set[str]) -> Any:
        _check_texts(given)
        if given.etag and given.etag != record.etag:
            raise Aborted("The service account was changed by somebody else; read it again.")
        for field in fields:
            setattr(record, field, getattr(given, field))
        return self._accounts.put(record)

    def _find(self, text: str, call: ApiCall, verb: str) -> Any:
        """Return the record of a live account. Raises PermissionDenied before NotFound."""
        name = self._name(text)
        account = self._accounts.get(name)
        self._allow(call, verb, self._resource(account.email if account else name))
        return self._accounts.record(self._identity.account(name).email)

    def _name(self, text: str) -> str:
        """Return the address or unique id in a resource name."""
        place, _, name = text.partition("/serviceAccounts/")
        if place != "projects/-":
            self._project(place)
        if not name or "/" in name or not (name.isdigit() or "@" in name):
            raise InvalidArgument(
                "name must be formatted: projects/PROJECT/serviceAccounts/EMAIL_OR_UNIQUE_ID."
            )
        return name

    def _project(self, text: str) -> str:
        name = text.removeprefix("projects/")
        if name not in (self._config.project, self._config.number):
            raise wrong_project(name[:100], "iam.googleapis.com")
        return f"projects/{self._config.project}"

    def _resource(self, email: str) -> str:
        return f"projects/{self._config.project}/serviceAccounts/{email}"

    def _allow(self, call: ApiCall, verb: str, resource: str) -> None:
        self._guard.require(call.caller, f"iam.serviceAccounts.{verb}", resource)


def _check_texts(given: Any) -> None:
    """Refuse texts that are longer than ServiceAccount documents, in bytes of UTF-8."""
    for field, most in (("display_name", _LONGEST_NAME), ("description", _LONGEST_DESCRIPTION)):
        size = len(getattr(given, field).encode())
        if size > most:
            raise InvalidArgument(f"{field} has {size} bytes; at most {most} are allowed.")


def _member(record: Any) -> str:
    return f"serviceAccount:{record.email}"


def _deleted_member(record: Any) -> str:
    return f"deleted:serviceAccount:{record.email}?uid={record.unique_id}"
