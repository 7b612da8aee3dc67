"""Tokens of other issuers: a JWT of an OpenID Connect provider becomes a principal of a pool.

The signature is checked with the keys of the provider's `jwksJson`, else with those that the issuer
publishes. The claims are mapped to attributes by CEL expressions over `assertion`; the condition
sees `assertion`, `google` and `attribute`. The issuer is asked only if it is this machine or one of
`gcp.allow_hosts`.

See https://cloud.google.com/iam/docs/workload-identity-federation#mapping and
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import jwt
from cel_expr_python import cel

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.identity.issuer_keys import IssuerKeys, KeysUnavailable, key_of, read_keys
from devenv.gcp.identity.pools import PRINCIPAL, PRINCIPAL_SET, PoolRecord, Pools

_ALGORITHMS = ("RS256", "ES256")
_AUDIENCE = re.compile(r"(?P<pool>[a-z0-9-]{4,32})/providers/[a-z0-9-]{4,32}")
_ATTRIBUTE = re.compile(r"google\.(subject|groups)|attribute\.[a-z0-9_]{1,100}")
_LONGEST = 2048  # characters of an expression
_LONGEST_SUBJECT = 127  # bytes
_LONGEST_LIFE = 24 * 3600  # seconds of a token
_SKEW = 60
_MOST_ATTRIBUTES = 50
_MOST_SEARCHED = 200_000  # characters in which an expression may look for matches
_MOST_ROUNDS = 10_000  # of all comprehensions of an expression, by its evaluator
_COMPREHENSION = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(")
# Texts of tokens are no patterns: the time is their length multiplied by that of the text.
_FOREIGN_PATTERN = re.compile(r"\bmatches\s*\((?!\s*[rR]?[\"'])")


class FederationProblem(Exception):
    """Raised for a token that a pool does not take; `code` is OAuth's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class FederatedGrant:
    """A principal, and for how many seconds its token was good still."""

    caller: ApiCaller
    remaining: float


class Federation:
    """Exchanges tokens for principals of the pools; `reachable` tells which hosts may be asked."""

    def __init__(self, pools: Pools, clock: Clock, reachable: Callable[[str], bool]) -> None:
        self._pools = pools
        self._clock = clock
        self._keys = IssuerKeys(clock, reachable)

    async def grant(
        self, audience: str, token: str, scopes: tuple[str, ...] = ()
    ) -> FederatedGrant:
        """Return the principal that a JWT shows to the provider that `audience` names.

        Raises FederationProblem.
        """
        provider = self._provider(audience)
        claims = await self._claims(provider, token)
        subject, members = _principal(provider, claims)
        pool = f"{self._pools.name}/{provider.key.partition('/')[0]}"
        sets = [f"{PRINCIPAL_SET}{pool}/{name}" for name in (*members, "*")]
        caller = ApiCaller(f"{PRINCIPAL}{pool}/subject/{subject}", scopes=scopes, sets=tuple(sets))
        return FederatedGrant(caller, float(claims["exp"]) - self._clock.machine())

    def _provider(self, audience: str) -> PoolRecord:
        place = f"//iam.googleapis.com/{self._pools.name}/"
        own = audience.removeprefix(place) if audience.startswith(place) else ""
        found = _AUDIENCE.fullmatch(own)
        pool, provider = (
            (self._pools.get(found["pool"]), self._pools.get(own)) if found else (None, None)
        )
        if not (pool and pool.is_active and provider and provider.is_active):
            raise FederationProblem(
                "invalid_target",
                'The target service indicated by the "audience" parameters is invalid. This might '
                "either be because the pool or provider is disabled or deleted or because it "
                "doesn't exist.",
            )
        return provider

    async def _claims(self, provider: PoolRecord, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that is good for the provider. Raises FederationProblem."""
        oidc = provider.settings["oidc"]
        options: Any = {
            "require": ["iss", "aud", "sub", "iat", "exp"],
            "verify_aud": False,
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        }
        try:
            kid = str(jwt.get_unverified_header(token).get("kid", ""))
            key = await self._key(oidc, kid)
            claims = jwt.decode(token, key, algorithms=list(_ALGORITHMS), options=options)
            issued, expires = float(claims["iat"]), float(claims["exp"])
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _invalid(f"The given credential cannot be verified: {error}") from error
        if claims["iss"] != oidc["issuerUri"]:
            raise _invalid(
                f"The issuer in ID Token {str(claims['iss'])[:200]} does not match the expected "
                f"ones: {oidc['issuerUri']}."
            )
        name = f"{self._pools.name}/{provider.key}"
        wanted = oidc["allowedAudiences"] or [
            f"https://iam.googleapis.com/{name}",
            f"//iam.googleapis.com/{name}",
        ]
        given = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if not set(map(str, given)) & set(wanted):
            raise _invalid(
                f"The audience in ID Token [{', '.join(map(str, given))[:200]}] does not match the "
                f"expected audience {wanted[0]}."
            )
        now = self._clock.machine()
        if not issued - _SKEW <= now < expires + _SKEW or expires - issued > _LONGEST_LIFE:
            raise _invalid(
                f"ID Token issued at {issued:.0f} is stale to sign-in, or is good for over 24 hours."
            )
        return claims

    async def _key(self, oidc: Mapping[str, Any], kid: str) -> jwt.PyJWK:
        """Return the key of a token. Raises FederationProblem."""
        try:
            if "jwksJson" not in oidc:
                return await self._keys.find(oidc["issuerUri"], kid)
            found = key_of(read_keys(oidc["jwksJson"]), kid)
        except KeysUnavailable as error:
            raise _invalid(str(error)) from error
        if found is None:
            raise _invalid(f"The key {kid[:100]!r} of the token is not one of its issuer.")
        return found


def _principal(provider: PoolRecord, claims: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the subject, and the groups and attributes as the ends of names of principal sets."""
    mapping: Mapping[str, str] = provider.settings["attributeMapping"]
    found = {name: _mapped(name, text, claims) for name, text in mapping.items()}
    subject = found["google.subject"]
    if not subject or len(subject.encode()) > _LONGEST_SUBJECT:
        raise _invalid(f"google.subject must have 1 to {_LONGEST_SUBJECT} bytes.")
    attributes = {
        name.removeprefix("attribute."): value
        for name, value in found.items()
        if name.startswith("attribute.")
    }
    groups = found.get("google.groups", [])
    values = {
        "assertion": claims,
        "google": {"subject": subject, "groups": groups},
        "attribute": attributes,
    }
    condition = provider.settings.get("attributeCondition", "")
    if condition and _evaluated(condition, values) is not True:
        raise FederationProblem(
            "unauthorized_client", "The given credential is rejected by the attribute condition."
        )
    sets = [f"attribute.{name}/{value}" for name, value in attributes.items()]
    return subject, [*(f"group/{group}" for group in groups), *sets]


def _mapped(name: str, expression: str, claims: Mapping[str, Any]) -> Any:
    """Return a text, or for groups a list of texts."""
    value = _evaluated(expression, {"assertion": claims, "google": {}, "attribute": {}})
    is_groups = name == "google.groups"
    texts = value if is_groups and isinstance(value, list) else [value]
    if (is_groups and not isinstance(value, list)) or not all(isinstance(t, str) for t in texts):
        raise _invalid(f"Unable to map {name}: {expression[:200]} is not a text of the token.")
    return value


def _evaluated(expression: str, values: Mapping[str, Any]) -> Any:
    """Return the value of an expression, None if it has none or would take too long."""
    if "matches" in expression and _searched(expression, values) > _MOST_SEARCHED:
        return None
    try:
        result = _compiled(expression).eval(_environment().Activation(dict(values)))
    except RuntimeError:  # a budget of the evaluator is used up
        return None
    return None if result.type() == cel.Type.ERROR else result.plain_value()


def _searched(expression: str, values: Mapping[str, Any]) -> int:
    """Return in how many characters an expression may look for matches, at most."""
    rounds, longest, waiting = expression.count(",") + 1, len(expression), [*values.values()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping | list):
            rounds = max(rounds, len(value))
            waiting += value.values() if isinstance(value, Mapping) else value
        else:
            longest = max(longest, len(str(value)))
    loops = min(len(_COMPREHENSION.findall(expression)), 4)
    return int(min(rounds**loops, _MOST_ROUNDS) * longest)


def check_mapping(value: Any) -> dict[str, str]:
    """Return the setting `attributeMapping`. Raises InvalidArgument."""
    if not isinstance(value, dict) or len(value) > _MOST_ATTRIBUTES:
        raise InvalidArgument(
            f"attributeMapping must be an object with at most {_MOST_ATTRIBUTES} entries."
        )
    for name, expression in value.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise InvalidArgument(
                f"attributeMapping has the key {name[:100]!r}; known are google.subject, "
                "google.groups and attribute.NAME."
            )
        _check_expression(f"attributeMapping.{name}", expression)
    return dict(value)


def check_condition(value: Any) -> str:
    """Return the setting `attributeCondition`. Raises InvalidArgument."""
    if value != "":
        _check_expression("attributeCondition", value)
    return str(value)


def _check_expression(name: str, expression: Any) -> None:
    if not isinstance(expression, str) or len(expression) > _LONGEST or "\0" in expression:
        raise InvalidArgument(f"{name} must be an expression of at most {_LONGEST} characters.")
    if _FOREIGN_PATTERN.search(expression):
        raise InvalidArgument(f"{name}: the pattern of matches must be a text in quotes.")
    try:
        _compiled(expression)
    except RuntimeError as error:
        raise InvalidArgument(f"{name} is not a CEL expression: {error}"[:500]) from error


@lru_cache(maxsize=256)
def _compiled(expression: str) -> cel.Expression:
    return _environment().compile(expression)


@cache
def _environment() -> cel.Env:
    text, dynamic = cel.Type.STRING, cel.Type.DYN
    names = ("assertion", "google", "attribute")
    variables = {name: cel.Type.Map(text, dynamic) for name in names}
    return cel.NewEnv(variables=variables, functions=[])


def _invalid(message: str) -> FederationProblem:
    return FederationProblem("invalid_grant", message)
