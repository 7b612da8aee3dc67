"""google.cloud.secretmanager.v1.SecretManagerService as the server wires it.

See https://cloud.google.com/secret-manager/docs/reference/rpc.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, ApiCaller, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Alarm, Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import Topics
from devenv.gcp.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.messages import moment, page_in_order, seconds, set_moment
from devenv.gcp.outbox import Outbox
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.secret_manager.filters import parse_filter
from devenv.gcp.secret_manager.names import SERVICE, SecretNames, key_of, location_of
from devenv.gcp.secret_manager.vault import (
    Secret,
    SecretVault,
    SecretVersion,
    changed_secret,
    check_payload,
    check_secret_id,
    checksum,
    new_secret,
)
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

secret_manager = client_types("google.cloud.secretmanager_v1")

MAX_PAGE = 25_000  # documented for both lists

_GRPC = "google.cloud.secretmanager.v1.SecretManagerService"
_SECRETS = "/v1/{parent=projects/*}/secrets"
_ITEM = "/v1/{name=projects/*/secrets/*}"
_VERSION = "/v1/{name=projects/*/secrets/*/versions/*}"
_REGION = "projects/*/locations/*"


class SecretManagerService(CloudService):
    """The secrets of one project."""

    def __init__(self, *, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._config = config
        self._clock = clock
        self._guard = guard
        self._names = SecretNames(config)
        email = f"service-{config.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
        self._outbox = Outbox(store.table("secret_outbox"), ApiCaller(email), guard)
        self._vault = SecretVault(store, clock, self._outbox)
        self._rotations = Alarm(clock, self._rotate)

    def rpcs(self) -> Iterator[Rpc]:
        of = secret_manager
        parent, updated = (
            "/v1/{parent=projects/*/secrets/*}",
            "/v1/{secret.name=projects/*/secrets/*}",
        )
        secrets, versions = of.ListSecretsResponse.pb(), of.ListSecretVersionsResponse.pb()
        access = of.AccessSecretVersionResponse.pb()
        for name, response, handle, rule in (
            ("ListSecrets", secrets, self.list_secrets, HttpRule("GET", _SECRETS)),
            ("CreateSecret", Secret, self.create, HttpRule("POST", _SECRETS, "secret")),
            ("GetSecret", Secret, self.get, HttpRule("GET", _ITEM)),
            ("UpdateSecret", Secret, self.update, HttpRule("PATCH", updated, "secret")),
            ("DeleteSecret", empty_pb2.Empty, self.delete, HttpRule("DELETE", _ITEM)),
            ("ListSecretVersions", versions, self.list_versions, HttpRule("GET", f"{parent}/versions")),
            ("AddSecretVersion", SecretVersion, self.add, HttpRule("POST", f"{parent}:addVersion", "*")),
            ("GetSecretVersion", SecretVersion, self.get_version, HttpRule("GET", _VERSION)),
            ("AccessSecretVersion", access, self.access, HttpRule("GET", f"{_VERSION}:access")),
            *(
                (f"{verb.title()}SecretVersion", SecretVersion, change, HttpRule("POST", f"{_VERSION}:{verb}", "*"))
                for verb, change in (
                    ("disable", self.disable),
                    ("enable", self.enable),
                    ("destroy", self.destroy),
                )
            ),
        ):  # fmt: skip
            yield _rpc(name, response, handle, rule)

    def use_topics(self, topics: Topics) -> None:
        """Let secrets notify the topics of a Pub/Sub."""
        self._outbox.topics = topics

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        def find(resource: str) -> str:
            key = self._names.secret(resource)
            self._existing(key)
            return self._names.resource(key)

        paths = tuple(f"/v1/{{resource={each}/secrets/*}}" for each in ("projects/*", _REGION))
        return (PolicyKind(_GRPC, paths, "secretmanager.secrets", find, reading="GET"),)

    async def start(self) -> None:
        """Create the secrets of devenv.toml, each with its value unless it has a version already."""
        for secret_id, value in self._config.secrets.items():
            check_secret_id(secret_id)
            secret = self._vault.secret(secret_id)
            if secret is None:
                wanted = Secret(replication={"automatic": {}})
                secret = self._create(secret_id, new_secret(wanted, now=self._clock.now()))
            if value and not self._vault.numbers(secret_id):
                self._add(secret_id, secret, secret_manager.SecretPayload.pb()(data=value.encode()))
        self._outbox.publish()
        self._rotate()

    async def stop(self) -> None:
        self._rotations.cancel()

    def plan_anew(self) -> None:
        """Wait for the next rotation; the clock or a secret may have changed."""
        self._rotations.cancel()
        moments = [
            moment(secret.rotation.next_rotation_time)
            for secret in map(self._vault.secret, self._vault.secret_keys())
            if secret is not None and secret.rotation.HasField("next_rotation_time")
        ]
        if moments:
            self._rotations.set(min(moments))

    def _rotate(self) -> None:
        """Tell the topics of secrets whose rotation is due, and plan the next one."""
        now = self._clock.now()
        for key in self._vault.secret_keys():
            secret = self._vault.secret(key)
            if secret is None or not secret.rotation.HasField("next_rotation_time"):
                continue
            due, period = moment(secret.rotation.next_rotation_time), 0.0
            if due > now:
                continue
            if secret.rotation.HasField("rotation_period"):
                period = seconds(secret.rotation.rotation_period)
                passed = (now - due) // period + 1
                set_moment(secret.rotation.next_rotation_time, due + passed * period)
            else:
                secret.ClearField("rotation")
            self._vault.put(key, secret, "SECRET_ROTATE")
        self._outbox.publish()
        self.plan_anew()

    def value(self, email: str, secret: str, version: str) -> bytes:
        """Return what a version holds for the account `email`. Raises CloudError.

        `secret` is an id or a full name, as in the environment of a Cloud Run job.
        """
        caller = ApiCaller(email)
        if "/" not in secret:
            secret = f"projects/{self._config.project}/secrets/{secret}"
        key = self._names.secret(secret, SERVICE)
        check_secret_id(key)  # the key of a regional one is no id
        number = self._number(key, version)
        self._allow(caller, "versions.access", self._names.resource(key, str(number)))
        return self._accessible(key, number)

    async def list_secrets(self, request: Any, call: ApiCall) -> Any:
        location = self._parent(request, call, "secrets.list")
        passes = parse_filter(request.filter)
        here = [each for each in self._vault.secret_keys() if location_of(each) == location]
        known = [each for each in here if passes(self._vault.secret(each))]
        ids, token = page_in_order(known, request, most=MAX_PAGE)
        return secret_manager.ListSecretsResponse.pb()(
            secrets=[self._vault.secret(each) for each in ids],
            next_page_token=token,
            total_size=len(known),
        )

    async def create(self, request: Any, call: ApiCall) -> Any:
        location = self._parent(request, call, "secrets.create")
        check_secret_id(request.secret_id)
        key = key_of(location, request.secret_id)
        secret = new_secret(request.secret, now=self._clock.now(), location=location)
        if secret.version_aliases:
            raise InvalidArgument("A secret without versions cannot have version aliases.")
        if self._vault.secret(key) is not None:
            raise AlreadyExists(f"Secret [{self._names.full(key)}] already exists.")
        self._check_topics(secret)
        return self._create(key, secret)

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._find(request.name, call, "secrets.get")[1]

    async def update(self, request: Any, call: ApiCall) -> Any:
        key, before = self._find(request.secret.name, call, "secrets.update")
        _check_etag(request.secret.etag, before)
        mask, now = request.update_mask, self._clock.now()
        secret = changed_secret(before, request.secret, mask, now=now)
        known = self._vault.numbers(key)
        for alias, number in secret.version_aliases.items():
            if number not in known:
                raise InvalidArgument(
                    f"The alias '{alias}' names version {number}, which is not there."
                )
        is_configured = secret.topics != before.topics
        if is_configured:
            self._check_topics(secret)
        events = ("TOPIC_CONFIGURED", "SECRET_UPDATE") if is_configured else ("SECRET_UPDATE",)
        made = self._vault.put(key, secret, *events)
        self._outbox.publish()
        self.plan_anew()
        return made

    async def delete(self, request: Any, call: ApiCall) -> Any:
        key, secret = self._find(request.name, call, "secrets.delete")
        _check_etag(request.etag, secret)
        self._vault.delete(key, secret)
        self._outbox.publish()
        self._guard.forget(self._names.resource(key))
        return empty_pb2.Empty()

    async def add(self, request: Any, call: ApiCall) -> Any:
        key, secret = self._find(request.parent, call, "versions.add")
        check_payload(request.payload)
        return self._add(key, secret, request.payload)

    async def list_versions(self, request: Any, call: ApiCall) -> Any:
        key, _ = self._find(request.parent, call, "versions.list")
        passes = parse_filter(request.filter)
        known = self._vault.numbers(key)
        numbers = [each for each in known if passes(self._vault.version(key, each))]
        chosen, token = page_in_order([str(each) for each in numbers], request, most=MAX_PAGE)
        return secret_manager.ListSecretVersionsResponse.pb()(
            versions=[self._vault.version(key, int(each)) for each in chosen],
            next_page_token=token,
            total_size=len(numbers),
        )

    async def get_version(self, request: Any, call: ApiCall) -> Any:
        return self._find_version(request, call, "get")[2]

    async def access(self, request: Any, call: ApiCall) -> Any:
        key, number, version = self._find_version(request, call, "access")
        data = self._accessible(key, number)
        return secret_manager.AccessSecretVersionResponse.pb()(
            name=version.name, payload={"data": data, "data_crc32c": checksum(data)}
        )

    async def disable(self, request: Any, call: ApiCall) -> Any:
        return self._change(request, call, "disable", SecretVersion.DISABLED)

    async def enable(self, request: Any, call: ApiCall) -> Any:
        return self._change(request, call, "enable", SecretVersion.ENABLED)

    async def destroy(self, request: Any, call: ApiCall) -> Any:
        """Destroy a version, or disable it until the secret's `version_destroy_ttl` has passed."""
        key, number, version = self._changeable(request, call, "destroy")
        secret, now = self._existing(key), self._clock.now()
        if secret.HasField("version_destroy_ttl"):
            version.state = SecretVersion.DISABLED
            set_moment(version.scheduled_destroy_time, now + seconds(secret.version_destroy_ttl))
            event = "SECRET_VERSION_DESTROY_SCHEDULED"
            self._vault.put_version(key, number, version, event)
        else:
            self._vault.destroy(key, number, version, at=now)
        self._outbox.publish()
        return version

    def _change(self, request: Any, call: ApiCall, verb: str, state: int) -> Any:
        key, number, version = self._changeable(request, call, verb)
        version.state = state
        if state == SecretVersion.ENABLED:
            version.ClearField("scheduled_destroy_time")
        self._vault.put_version(key, number, version, f"SECRET_VERSION_{verb.upper()}")
        self._outbox.publish()
        return version

    def _changeable(self, request: Any, call: ApiCall, verb: str) -> tuple[str, int, Any]:
        key, number, version = self._find_version(request, call, verb)
        _check_etag(request.etag, version)
        if version.state == SecretVersion.DESTROYED:
            raise FailedPrecondition("SecretVersion.state is already DESTROYED.")
        return key, number, version

    def _add(self, key: str, secret: Any, payload: Any) -> Any:
        number = max(self._vault.numbers(key), default=0) + 1
        version = SecretVersion(
            name=self._names.full(key, str(number)),
            state=SecretVersion.ENABLED,
            client_specified_payload_checksum=payload.HasField("data_crc32c"),
        )
        set_moment(version.create_time, self._clock.now())
        _replicate(version, secret)
        self._vault.add(key, number, version, payload.data)
        self._outbox.publish()
        return version

    def _create(self, key: str, secret: Any) -> Any:
        secret.name = self._names.full(key)
        made = self._vault.put(key, secret, "TOPIC_CONFIGURED", "SECRET_CREATE")
        self._outbox.publish()
        self.plan_anew()
        return made

    def _parent(self, request: Any, call: ApiCall, permission: str) -> str:
        """Return the location of a request's parent, empty for the global one."""
        location = self._names.location(request.parent, call.headers.get("host", ""))
        place = f"projects/{self._config.project}"
        self._allow(call.caller, permission, f"{place}/locations/{location}" if location else place)
        return location

    def _check_topics(self, secret: Any) -> None:
        for topic in secret.topics:
            self._outbox.check(topic.name)

    def _find(self, name: str, call: ApiCall, permission: str) -> tuple[str, Any]:
        key = self._names.secret(name, call.headers.get("host", ""))
        self._allow(call.caller, permission, self._names.resource(key))
        return key, self._existing(key)

    def _find_version(self, request: Any, call: ApiCall, verb: str) -> tuple[str, int, Any]:
        key, asked = self._names.version(request.name, call.headers.get("host", ""))
        self._allow(call.caller, f"versions.{verb}", self._names.resource(key, asked))
        number = self._number(key, asked)
        return key, number, self._vault.version(key, number)

    def _existing(self, key: str) -> Any:
        secret = self._vault.secret(key)
        if secret is None:
            raise NotFound(f"Secret [{self._names.full(key)}] not found.")
        return secret

    def _number(self, key: str, asked: str) -> int:
        """Return the number of the version that a number, an alias or `latest` stands for."""
        secret = self._vault.secret(key)
        numbers = self._vault.numbers(key) if secret is not None else []
        if secret is None or not numbers:
            name = self._names.full(key)
            raise NotFound(f"Secret [{name}] not found or has no versions.")
        if asked == "latest":
            return numbers[0]
        number = int(asked) if asked.isdecimal() and len(asked) < 10 else None
        number = secret.version_aliases.get(asked) if number is None else number
        if number not in numbers:
            raise NotFound(f"Secret Version [{self._names.full(key, asked)}] not found.")
        return number

    def _accessible(self, key: str, number: int) -> bytes:
        version = self._vault.version(key, number)
        if version is None or version.state != SecretVersion.ENABLED:
            name = self._names.full(key, str(number))
            state = SecretVersion.State.Name(version.state) if version else "DESTROYED"
            raise FailedPrecondition(f"Secret Version [{name}] is in {state} state.")
        return self._vault.payload(key, number)

    def _allow(self, caller: ApiCaller, permission: str, resource: str) -> None:
        self._guard.require(caller, f"secretmanager.{permission}", resource)


def _rpc(name: str, response: Any, handle: Callable[..., Any], rule: HttpRule) -> Rpc:
    request = getattr(secret_manager, f"{name}Request").pb()
    regional = replace(rule, uri=rule.uri.replace("projects/*", _REGION))
    return Rpc(f"{_GRPC}/{name}", request, response, handle, (rule, regional))


def _replicate(version: Any, secret: Any) -> None:
    """Say where a version is stored, in the shape of its secret's replication."""
    if secret.replication.WhichOneof("replication") == "automatic":
        version.replication_status.automatic.SetInParent()
    for replica in secret.replication.user_managed.replicas:
        version.replication_status.user_managed.replicas.add(location=replica.location)


def _check_etag(wanted: str, record: Any) -> None:
    """Refuse a change of what somebody else has changed in the meantime.

    https://cloud.google.com/secret-manager/docs/etags
    """
    if wanted and wanted != record.etag:
        raise FailedPrecondition(
            f"The etag {wanted[:100]} does not match the current one of [{record.name}]."
        )
