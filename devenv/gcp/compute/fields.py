"""Fields that callers send: which are known, what they must be, and Google's defaults."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from devenv.gcp.compute.records import INTERNAL_IPV6, IPV6_PREFIX, VPC_PEERING, ComputeRecords
from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.rpc.json_methods import Json

KnownFields: TypeAlias = Mapping[str, Any]
"""The type of each field, or the same for an object in it."""

_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_PATTERN = "(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)"
# Fields of an answer, which callers send back; they have no effect.
_OUTPUT = {"creationTimestamp", "id", "kind", "region", "selfLink", "selfLinkWithId", "status"}
_NETWORK: KnownFields = {
    "name": str,
    "description": str,
    "autoCreateSubnetworks": bool,
    "enableUlaInternalIpv6": bool,
    "internalIpv6Range": str,
    "mtu": int,
    "routingConfig": {"routingMode": str},
}
_SUBNETWORK: KnownFields = {
    "name": str,
    "description": str,
    "ipCidrRange": str,
    "network": str,
    "privateIpGoogleAccess": bool,
    "purpose": str,
    "stackType": str,
    "ipv6AccessType": str,
}
_ADDRESS: KnownFields = {
    "name": str,
    "description": str,
    "address": str,
    "addressType": str,
    "ipVersion": str,
    "network": str,
    "networkTier": str,
    "prefixLength": int,
    "purpose": str,
    "subnetwork": str,
}
_FILTER = re.compile(
    r"\(?(\w+)(?:\s*[=:]\s*|\s+eq\s+)[\"']?(?:\.\*/?|\^)?([^\s\"'()$]+)\$?[\"']?\)?"
)
_LEAST_MTU, _MOST_MTU = 1300, 8896
_MODES = ("REGIONAL", "GLOBAL")
_LEAST_SUBNETWORK = 29  # bits of the prefix of the smallest one
_PREFIXES = range(8, 30)


def checked(body: Json, known: KnownFields, where: str = "resource") -> Json:
    """Return what a caller may set of a body. Raises InvalidArgument or Unimplemented."""
    found: Json = {}
    for name, value in body.items():
        wanted, path = known.get(name), f"{where}.{name}"
        if isinstance(wanted, Mapping) and isinstance(value, dict):
            found[name] = checked(value, wanted, path)
        elif isinstance(wanted, type) and type(value) is wanted:
            found[name] = value
        elif wanted is not None:
            raise invalid(path, value, "It has the wrong type.")
        elif name not in _OUTPUT:
            raise Unimplemented(f"{path} is not emulated.")
    return found


def new_network(body: Json) -> Json:
    """Return the fields of a new network."""
    given = checked(body, _NETWORK)
    check_name(given)
    if "autoCreateSubnetworks" not in given:
        raise Unimplemented(
            "A network without resource.autoCreateSubnetworks is a legacy one, which is not emulated."
        )
    _check_network(given)
    if text := given.get("internalIpv6Range"):
        if not given.get("enableUlaInternalIpv6"):
            raise invalid("resource.internalIpv6Range", text, "Set enableUlaInternalIpv6, too.")
        given["internalIpv6Range"] = _internal_range(text)
    return given


def _internal_range(text: str) -> str:
    """Return the checked range of a network's internal IPv6 addresses."""
    try:
        found = ipaddress.IPv6Network(text)
    except ValueError:
        found = None
    if found is None or found.prefixlen != IPV6_PREFIX or not found.subnet_of(INTERNAL_IPV6):
        hint = f"It must be a /{IPV6_PREFIX} range within {INTERNAL_IPV6}."
        raise invalid("resource.internalIpv6Range", text, hint)
    return str(found)


def changed_network(before: Json, body: Json) -> Json:
    """Return a network with the settings that a patch names."""
    given = checked(body, _NETWORK)
    changeable = ("description", "enableUlaInternalIpv6", "mtu", "routingConfig")
    if before.get("enableUlaInternalIpv6") and given.get("enableUlaInternalIpv6") is False:
        raise invalid("resource.enableUlaInternalIpv6", False, "It cannot be disabled.")
    for name in given:
        if name not in changeable and given[name] != before.get(name):
            raise invalid(f"resource.{name}", given[name], "The field cannot be changed.")
    _check_network(given)
    routing = {**before["routingConfig"], **given.get("routingConfig", {})}
    return {**before, **given, "routingConfig": routing}


def _check_network(given: Json) -> None:
    mode = given.get("routingConfig", {}).get("routingMode", _MODES[0])
    if mode not in _MODES:
        raise invalid("resource.routingConfig.routingMode", mode, "Use REGIONAL or GLOBAL.")
    mtu = given.get("mtu", _LEAST_MTU)
    if not _LEAST_MTU <= mtu <= _MOST_MTU:
        raise invalid("resource.mtu", mtu, f"It must be from {_LEAST_MTU} to {_MOST_MTU}.")


def new_subnetwork(body: Json, records: ComputeRecords) -> Json:
    """Return the fields of a new subnetwork."""
    given = checked(body, _SUBNETWORK)
    check_name(given)
    _require(given, "network", "ipCidrRange")
    if given.get("purpose", "PRIVATE") != "PRIVATE":
        raise Unimplemented("resource.purpose must be PRIVATE.")
    try:
        found = ipaddress.IPv4Network(given["ipCidrRange"])
    except ValueError:
        found = None
    if found is None or not found.is_private or found.prefixlen > _LEAST_SUBNETWORK:
        hint = "It must be a private IPv4 range such as 10.0.0.0/24."
        raise invalid("resource.ipCidrRange", given["ipCidrRange"], hint)
    network = records.referenced(given["network"], "resource.network")
    _check_stack(given, network)
    return {**given, "network": network["selfLink"]}


def _check_stack(given: Json, network: Json) -> None:
    """Raise CloudError for IPv6 that a subnetwork cannot have."""
    stack, access = given.get("stackType", "IPV4_ONLY"), given.get("ipv6AccessType", "")
    if stack not in ("IPV4_ONLY", "IPV4_IPV6"):
        raise Unimplemented("resource.stackType must be IPV4_ONLY or IPV4_IPV6.")
    if (stack == "IPV4_IPV6") != (access in ("INTERNAL", "EXTERNAL")):
        hint = "A subnetwork with the stack type IPV4_IPV6 has INTERNAL or EXTERNAL, another none."
        raise invalid("resource.ipv6AccessType", access, hint)
    if stack == "IPV4_IPV6" and network["autoCreateSubnetworks"]:
        hint = "A network in auto mode has no subnetworks with IPv6."
        raise invalid("resource.stackType", stack, hint)
    if access == "INTERNAL" and not network.get("enableUlaInternalIpv6"):
        hint = "The network has no internal IPv6 range: enable enableUlaInternalIpv6."
        raise invalid("resource.ipv6AccessType", access, hint)


def new_address(body: Json, records: ComputeRecords, *, is_global: bool) -> Json:
    """Return the fields of a new address or range, which get a free address if none is given."""
    given = checked(body, _ADDRESS)
    check_name(given)
    kind = given.get("addressType", "EXTERNAL")
    if given.get("ipVersion", "IPV4") != "IPV4":
        raise Unimplemented("resource.ipVersion must be IPV4.")
    if kind == "EXTERNAL":
        return _external_address(given, records)
    if kind != "INTERNAL":
        raise invalid("resource.addressType", kind, "Use EXTERNAL or INTERNAL.")
    made = _range(given, records) if is_global else _internal_address(given, records)
    return {**made, "addressType": kind, "status": "RESERVED"}


def _external_address(given: Json, records: ComputeRecords) -> Json:
    for name in ("network", "subnetwork", "prefixLength", "purpose"):
        if name in given:
            raise invalid(f"resource.{name}", given[name], "An EXTERNAL address has none.")
    taken = {each["address"] for each in records.below("") if "address" in each}
    # https://www.rfc-editor.org/rfc/rfc5737: addresses that lead nowhere.
    free = (str(each) for each in ipaddress.IPv4Network("198.51.100.0/24").hosts())
    address = given.get("address") or next((each for each in free if each not in taken), "")
    if not address or address in taken:
        raise invalid("resource.address", address, "No such address is free.")
    _parsed(address)
    tier = {"networkTier": "PREMIUM"}
    return {**tier, **given, "address": address, "addressType": "EXTERNAL", "status": "RESERVED"}


def _range(given: Json, records: ComputeRecords) -> Json:
    """Return an internal range of a whole network, as services in it get one."""
    if given.get("purpose") != VPC_PEERING:
        raise Unimplemented(f"resource.purpose of a global INTERNAL address must be {VPC_PEERING}.")
    _require(given, "network", "prefixLength")
    prefix = given["prefixLength"]
    if prefix not in _PREFIXES:
        raise invalid("resource.prefixLength", prefix, "It must be from 8 to 29.")
    link = records.referenced(given["network"], "resource.network")["selfLink"]
    address = given.get("address") or records.free_range(link, prefix)
    try:
        wanted = ipaddress.IPv4Network((address, prefix))
    except ValueError:
        hint = f"It must be the first address of a range with a prefix of {prefix} bits."
        raise invalid("resource.address", address, hint) from None
    for other in records.subnetworks_of(link):
        if wanted.overlaps(ipaddress.IPv4Network(other["ipCidrRange"])):
            hint = f"The range overlaps with that of the subnetwork {other['name']}."
            raise invalid("resource.address", address, hint)
    return {**given, "address": address, "network": link}


def _internal_address(given: Json, records: ComputeRecords) -> Json:
    _require(given, "subnetwork")
    subnetwork = records.referenced(given["subnetwork"], "resource.subnetwork")
    inside = ipaddress.IPv4Network(subnetwork["ipCidrRange"])
    taken = {each["address"] for each in records.addresses_of(subnetwork["network"])}
    # The first two and the last two addresses of a subnetwork are Google's.
    free = (str(inside[at]) for at in range(2, inside.num_addresses - 2))
    address = given.get("address") or next((each for each in free if each not in taken), "")
    if not address or address in taken or _parsed(address) not in inside:
        raise invalid("resource.address", address, f"No such address is free in {inside}.")
    purpose = {"purpose": "GCE_ENDPOINT"}
    return {**purpose, **given, "address": address, "subnetwork": subnetwork["selfLink"]}


def check_name(given: Json) -> None:
    """Raise InvalidArgument for a name that no resource of Compute Engine can have."""
    name = given.get("name", "")
    if not _NAME.fullmatch(name):
        raise invalid("resource.name", name[:100], f"Must be a match of regex '{_PATTERN}'")


def _require(given: Json, *names: str) -> None:
    for name in names:
        if not given.get(name):
            raise InvalidArgument(f"Required field 'resource.{name}' not specified")


def _parsed(address: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(address)
    except ValueError:
        raise invalid("resource.address", address, "It must be an IPv4 address.") from None


def invalid(field: str, value: Any, reason: str) -> InvalidArgument:
    """Return the refusal of a value, as Google words it."""
    return InvalidArgument(f"Invalid value for field '{field}': '{str(value)[:200]}'. {reason}")


def filtered(records: list[Json], text: str) -> list[Json]:
    """Return the records whose field has a value. Raises Unimplemented for another filter."""
    if not text:
        return records
    match = _FILTER.fullmatch(text)
    if match is None:
        raise Unimplemented(f"The filter {text[:200]!r} is not emulated; use FIELD=VALUE.")
    field, value = match.groups()
    values = [(each, str(each.get(field, ""))) for each in records]
    return [each for each, has in values if value in (has, has.rpartition("/")[2])]
