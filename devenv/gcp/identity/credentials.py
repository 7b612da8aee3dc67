"""IAM Credentials and the key methods of IAM Admin, over gRPC and REST.

`google.iam.credentials.v1.IAMCredentials` makes tokens and signatures in the name of another
account; each method needs its own permission on that account. `google.iam.admin.v1.IAM` creates
the keys of a service account: the answer to CreateServiceAccountKey holds a key file that works
with every Google client, and the private key is not kept.
"""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument, NotFound, Unimplemented
from devenv.gcp.identity.accounts import ServiceAccount
from devenv.gcp.identity.exchange import TOKEN_URI
from devenv.gcp.identity.identity import Identity, sign_jwt
from devenv.gcp.identity.keys import PublicKey, pem
from devenv.gcp.messages import seconds
from devenv.gcp.rpc import HttpRule, Rpc

admin = client_types("google.cloud.iam_admin_v1")
credentials = client_types("google.cloud.iam_credentials_v1")

_ACCOUNT = "/v1/{name=projects/*/serviceAccounts/*}"
_KEY = "/v1/{name=projects/*/serviceAccounts/*/keys/*}"
_LONGEST_LIFETIME = 3600
_LONGEST_JWT = 12 * 3600
_MOST_KEYS = 10

Key = admin.ServiceAccountKey.pb()


class CredentialsApi:
    """The methods of both services for the accounts of one project."""

    def __init__(self, *, project: str, identity: Identity, guard: Guard, clock: Clock) -> None:
        self._project = project
        self._identity = identity
        self._guard = guard
        self._clock = clock

    def rpcs(self) -> Iterator[Rpc]:
        for name, handle in (
            ("GenerateAccessToken", self.access_token),
            ("GenerateIdToken", self.id_token),
            ("SignBlob", self.sign_blob),
            ("SignJwt", self.sign_jwt),
        ):
            yield Rpc(
                f"google.iam.credentials.v1.IAMCredentials/{name}",
                getattr(credentials, f"{name}Request").pb(),
                getattr(credentials, f"{name}Response").pb(),
                handle,
                (HttpRule("POST", f"{_ACCOUNT}:{name[0].lower()}{name[1:]}", "*"),),
                # Node's client sends it; `azp` stays the unique id of the account.
                frozenset({"useEmailAzp"}) if name == "GenerateIdToken" else frozenset(),
            )
        keys, empty = admin.ListServiceAccountKeysResponse.pb(), empty_pb2.Empty
        for name, response, handle, binding in (
            (
                "CreateServiceAccountKey",
                Key,
                self.create_key,
                HttpRule("POST", f"{_ACCOUNT}/keys", "*"),
            ),
            ("ListServiceAccountKeys", keys, self.list_keys, HttpRule("GET", f"{_ACCOUNT}/keys")),
            ("GetServiceAccountKey", Key, self.get_key, HttpRule("GET", _KEY)),
            ("DeleteServiceAccountKey", empty, self.delete_key, HttpRule("DELETE", _KEY)),
        ):
            request = getattr(admin, f"{name}Request").pb()
            yield Rpc(f"google.iam.admin.v1.IAM/{name}", request, response, handle, (binding,))

    async def access_token(self, request: Any, call: ApiCall) -> Any:
        account = self._account(request, call, "serviceAccounts.getAccessToken")
        if not request.scope:
            raise InvalidArgument("Request contains an invalid argument: scope is required.")
        lifetime = seconds(request.lifetime) if request.HasField("lifetime") else _LONGEST_LIFETIME
        if not 0 < lifetime <= _LONGEST_LIFETIME:
            raise InvalidArgument("lifetime must be between 1s and 3600s.")
        token = self._identity.access_token(
            account.email, lifetime=lifetime, scopes=tuple(request.scope)
        )
        answer = credentials.GenerateAccessTokenResponse.pb()(access_token=token)
        # The client compares it with the machine's clock.
        answer.expire_time.seconds = int(self._clock.machine() + lifetime)
        return answer

    async def id_token(self, request: Any, call: ApiCall) -> Any:
        account = self._account(request, call, "serviceAccounts.getOpenIdToken")
        if not request.audience:
            raise InvalidArgument("Request contains an invalid argument: audience is required.")
        token = self._identity.id_token(account.email, request.audience, full=request.include_email)
        return credentials.GenerateIdTokenResponse.pb()(token=token)

    async def sign_blob(self, request: Any, call: ApiCall) -> Any:
        account = self._account(request, call, "serviceAccounts.signBlob")
        if not request.payload:
            raise InvalidArgument("Request contains an invalid argument: payload is required.")
        key = self._identity.blob_key(account.email)
        return credentials.SignBlobResponse.pb()(
            key_id=key.kid, signed_blob=key.sign(request.payload)
        )

    async def sign_jwt(self, request: Any, call: ApiCall) -> Any:
        account = self._account(request, call, "serviceAccounts.signJwt")
        try:
            claims = json.loads(request.payload)
            expires = float(claims.get("exp", self._clock.machine() + _LONGEST_LIFETIME))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            raise InvalidArgument("payload must be a JSON object with a numeric exp.") from None
        if not 0 < expires - self._clock.machine() <= _LONGEST_JWT:
            raise InvalidArgument("exp must be in the future, and at most 12 hours from now.")
        key = self._identity.blob_key(account.email)
        signed = sign_jwt(key, {"exp": int(expires), **claims})
        return credentials.SignJwtResponse.pb()(key_id=key.kid, signed_jwt=signed)

    async def create_key(self, request: Any, call: ApiCall) -> Any:
        """Return a new key with its key file, which `private_key_data` holds in this answer only."""
        account = self._account(request, call, "serviceAccountKeys.create")
        if request.private_key_type not in (0, 2):
            raise Unimplemented("private_key_type must be TYPE_GOOGLE_CREDENTIALS_FILE.")
        if request.key_algorithm not in (0, 2):
            raise Unimplemented("key_algorithm must be KEY_ALG_RSA_2048.")
        if len(self._identity.user_keys.of(account.email)) >= _MOST_KEYS:
            raise InvalidArgument(f"A service account has at most {_MOST_KEYS} keys.")
        now = dt.datetime.fromtimestamp(self._clock.now(), dt.UTC)
        key = self._identity.user_keys.create(account.email, now)
        file = {
            "type": "service_account",
            "project_id": self._project,
            "private_key_id": key.kid,
            "private_key": pem(key.private).decode(),
            "client_email": account.email,
            "client_id": account.unique_id,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": TOKEN_URI,
            "universe_domain": "googleapis.com",
        }
        answer = self._key(account, PublicKey(key.kid, key.certificate(account.email, now)))
        answer.private_key_type = 2
        answer.private_key_data = json.dumps(file, indent=2).encode()
        return answer

    async def list_keys(self, request: Any, call: ApiCall) -> Any:
        account = self._account(request, call, "serviceAccountKeys.list")
        keys = [self._key(account, key) for key in self._keys_of(account)]
        wanted = [key for key in keys if not request.key_types or key.key_type in request.key_types]
        return admin.ListServiceAccountKeysResponse.pb()(keys=wanted)

    async def get_key(self, request: Any, call: ApiCall) -> Any:
        account, key = self._find_key(request, call, "serviceAccountKeys.get")
        answer = self._key(account, key)
        if request.public_key_type == 1:  # TYPE_X509_PEM_FILE
            answer.public_key_data = key.certificate.encode()
        elif request.public_key_type:
            raise Unimplemented("public_key_type must be TYPE_X509_PEM_FILE.")
        return answer

    async def delete_key(self, request: Any, call: ApiCall) -> Any:
        account, key = self._find_key(request, call, "serviceAccountKeys.delete")
        if key.kid == self._identity.system_key(account.email).kid:
            raise InvalidArgument("Cannot delete the system-managed key of a service account.")
        self._identity.user_keys.delete(account.email, key.kid)
        return empty_pb2.Empty()

    def _account(self, request: Any, call: ApiCall, permission: str) -> ServiceAccount:
        """Return the account that a request names, if the caller has `permission` on it."""
        prefix, _, name = request.name.partition("/serviceAccounts/")
        if prefix not in ("projects/-", f"projects/{self._project}") or not name:
            raise InvalidArgument("name must be formatted: projects/-/serviceAccounts/EMAIL.")
        account = self._identity.account(name.partition("/")[0])
        resource = f"projects/{self._project}/serviceAccounts/{account.email}"
        self._guard.require(call.caller, f"iam.{permission}", resource)
        if getattr(request, "delegates", ()):
            raise Unimplemented("delegates are not emulated; give the caller the role itself.")
        return account

    def _keys_of(self, account: ServiceAccount) -> list[PublicKey]:
        """Return the key with which Google signs for an account, and those that users created."""
        system = self._identity.system_key(account.email)
        own = PublicKey(system.kid, system.certificate(account.email))
        return [own, *self._identity.user_keys.of(account.email)]

    def _find_key(
        self, request: Any, call: ApiCall, permission: str
    ) -> tuple[ServiceAccount, PublicKey]:
        account = self._account(request, call, permission)
        kid = request.name.rpartition("/keys/")[2]
        key = next((each for each in self._keys_of(account) if each.kid == kid), None)
        if key is None:
            raise NotFound(f"Service account key {kid[:100]} does not exist.")
        return account, key

    def _key(self, account: ServiceAccount, key: PublicKey) -> Any:
        system = self._identity.system_key(account.email).kid
        answer = Key(
            name=f"projects/{self._project}/serviceAccounts/{account.email}/keys/{key.kid}",
            key_algorithm=2,
            key_origin=2,  # GOOGLE_PROVIDED
            key_type=2 if key.kid == system else 1,  # SYSTEM_MANAGED or USER_MANAGED
        )
        answer.valid_after_time.FromDatetime(key.since)
        answer.valid_before_time.seconds = 253402300799
        return answer
