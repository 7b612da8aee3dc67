"""Firewall rules and routes of networks: which fields callers may send, and Google's defaults.

See https://cloud.google.com/compute/docs/reference/rest/v1/firewalls and
https://cloud.google.com/compute/docs/reference/rest/v1/routes. Nothing here stops or leads traffic.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from devenv.gcp.compute.fields import KnownFields, check_name, checked, invalid
from devenv.gcp.compute.records import GATEWAY, ComputeRecords
from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.rpc.json_methods import Json

_FIREWALL: KnownFields = {
    **dict.fromkeys(("name", "description", "network", "direction"), str),
    **dict.fromkeys(("allowed", "denied", "sourceRanges", "destinationRanges"), list),
    **dict.fromkeys(("sourceTags", "targetTags"), list),
    **dict.fromkeys(("sourceServiceAccounts", "targetServiceAccounts"), list),
    "priority": int,
    "disabled": bool,
    "logConfig": {"enable": bool, "metadata": str},
}
_ROUTE: KnownFields = {
    **dict.fromkeys(("name", "description", "network", "destRange"), str),
    **dict.fromkeys(("nextHopGateway", "nextHopIp"), str),
    "priority": int,
    "tags": list,
}
_PROTOCOLS = ("tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all")
_WITH_PORTS = ("tcp", "udp", "sctp", "6", "17", "132")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_TAGS = ("sourceTags", "targetTags")
_ACCOUNTS = ("sourceServiceAccounts", "targetServiceAccounts")
_DIRECTIONS = ("INGRESS", "EGRESS")
_EVERYWHERE = "0.0.0.0/0"
_PRIORITY, _MOST_PRIORITY, _LARGEST_PORT, _MOST_RANGES = 1000, 65535, 65535, 5000
_FIXED = ("name", "network", "direction")


def new_firewall(body: Json, records: ComputeRecords) -> Json:
    """Return the fields of a new firewall rule, in the network `default` if none is named."""
    given = checked(body, _FIREWALL)
    check_name(given)
    network = given.get("network", "global/networks/default")
    defaults = {"priority": _PRIORITY, "direction": "INGRESS", "disabled": False}
    made = {**defaults, "logConfig": {"enable": False}, **given}
    made["network"] = records.referenced(network, "resource.network")["selfLink"]
    return _completed(made)


def changed_firewall(before: Json, body: Json, records: ComputeRecords, *, whole: bool) -> Json:
    """Return a firewall rule with the fields that a patch names, or with all of an update."""
    given = checked(body, _FIREWALL)
    if "network" in given:
        given["network"] = records.referenced(given["network"], "resource.network")["selfLink"]
    for name in _FIXED:
        if given.get(name, before[name]) != before[name]:
            raise invalid(f"resource.{name}", given[name], "The field cannot be changed.")
    kept = {key: value for key, value in before.items() if not whole or key not in _FIREWALL}
    if whole:
        fixed = {name: before[name] for name in _FIXED}
        return _completed({**new_firewall({**fixed, **given}, records), **kept})
    for one, other in (("allowed", "denied"), ("denied", "allowed")):
        if given.get(one):
            kept.pop(other, None)
    return _completed({**kept, **given})


def _completed(rule: Json) -> Json:
    """Check a firewall rule, and fill in whom it is about."""
    _check_priority(rule)
    if bool(rule.get("allowed")) == bool(rule.get("denied")):
        raise InvalidArgument("A firewall rule must have either 'allowed' or 'denied'.")
    kind = "allowed" if rule.get("allowed") else "denied"
    for index, each in enumerate(rule[kind]):
        _check_traffic(f"resource.{kind}[{index}]", each)
    _complete_direction(rule)
    for name in ("sourceRanges", "destinationRanges"):
        rule[name] = [_range(f"resource.{name}", each) for each in rule.get(name, [])]
        if len({":" in each for each in rule[name]}) > 1:
            hint = "A rule has ranges of IPv4 or of IPv6, not of both."
            raise invalid(f"resource.{name}", rule[name], hint)
        if len(rule[name]) > _MOST_RANGES:
            raise InvalidArgument(f"resource.{name} has more than {_MOST_RANGES} ranges.")
    for name in (*_TAGS, *_ACCOUNTS):
        _check_texts(f"resource.{name}", rule.get(name, []))
    if _any(rule, _TAGS) and _any(rule, _ACCOUNTS):
        raise InvalidArgument("A firewall rule cannot have both tags and service accounts.")
    return {key: value for key, value in rule.items() if value != []}


def _complete_direction(rule: Json) -> None:
    if rule["direction"] not in _DIRECTIONS:
        raise invalid("resource.direction", rule["direction"], "Use INGRESS or EGRESS.")
    senders = ("sourceTags", "sourceServiceAccounts")
    if rule["direction"] == "EGRESS":
        for name in senders:
            if rule.get(name):
                raise invalid(f"resource.{name}", rule[name], "An EGRESS rule has none.")
        rule["destinationRanges"] = rule.get("destinationRanges") or [_EVERYWHERE]
    elif not _any(rule, ("sourceRanges", *senders)):
        rule["sourceRanges"] = [_EVERYWHERE]


def _any(rule: Json, names: Iterable[str]) -> bool:
    return any(rule.get(name) for name in names)


def _check_traffic(where: str, traffic: Any) -> None:
    given = checked(
        traffic if isinstance(traffic, dict) else {}, {"IPProtocol": str, "ports": list}, where
    )
    protocol = given.get("IPProtocol", "").lower()
    if protocol not in _PROTOCOLS and not (protocol.isdecimal() and int(protocol) < 256):
        raise invalid(f"{where}.IPProtocol", protocol, f"Use a number or {', '.join(_PROTOCOLS)}.")
    if given.get("ports") and protocol not in _WITH_PORTS:
        raise invalid(f"{where}.ports", given["ports"], f"{protocol} has no ports.")
    for each in given.get("ports", []):
        match = _PORTS.fullmatch(each) if isinstance(each, str) else None
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= _LARGEST_PORT:
            raise invalid(
                f"{where}.ports", each, "It must be a port such as 80, or a range such as 80-90."
            )


def new_route(body: Json, records: ComputeRecords) -> Json:
    """Return the fields of a new route, by the gateway to the internet or an address."""
    given = checked(body, _ROUTE)
    check_name(given)
    for name in ("network", "destRange"):
        if not given.get(name):
            raise InvalidArgument(f"Required field 'resource.{name}' not specified")
    network = records.referenced(given["network"], "resource.network")
    made = {"priority": _PRIORITY, **given, "network": network["selfLink"]}
    made["destRange"] = _range("resource.destRange", given["destRange"])
    if ":" in made["destRange"]:
        raise Unimplemented("resource.destRange is one of IPv6; routes of one's own are of IPv4.")
    _check_priority(made)
    _check_texts("resource.tags", made.get("tags", []))
    if ("nextHopGateway" in given) == ("nextHopIp" in given):
        raise InvalidArgument(
            "A route must have exactly one next hop: nextHopGateway or nextHopIp."
        )
    if "nextHopGateway" in given:
        if records.place_of(given["nextHopGateway"], "resource.nextHopGateway") != GATEWAY:
            raise invalid(
                "resource.nextHopGateway", given["nextHopGateway"], f"It must be {GATEWAY}."
            )
        made["nextHopGateway"] = records.link(GATEWAY)
    else:
        _check_next_hop(made, records)
    return made


def _check_next_hop(route: Json, records: ComputeRecords) -> None:
    subnetworks = records.subnetworks_of(route["network"])
    ranges = [ipaddress.IPv4Network(each["ipCidrRange"]) for each in subnetworks]
    text = route["nextHopIp"]
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise invalid("resource.nextHopIp", text, "It must be an IPv4 address.") from None
    if not any(address in each for each in ranges):
        raise invalid("resource.nextHopIp", text, "No subnetwork of the network has the address.")


def _range(where: str, text: Any) -> str:
    """Return a range with its prefix. Raises InvalidArgument."""
    try:
        found = ipaddress.ip_network(text if isinstance(text, str) else "")
    except ValueError:
        raise invalid(where, text, "It must be a range such as 10.0.0.0/24.") from None
    return str(found)


def _check_priority(record: Json) -> None:
    if not 0 <= record["priority"] <= _MOST_PRIORITY:
        raise invalid(
            "resource.priority", record["priority"], f"It must be from 0 to {_MOST_PRIORITY}."
        )


def _check_texts(where: str, values: Iterable[Any]) -> None:
    for each in values:
        if not isinstance(each, str) or not each:
            raise invalid(where, each, "It must be a text.")
