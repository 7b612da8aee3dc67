"""The networks, subnetworks and addresses that the store has, and how they refer to each other.

A record is the JSON of the API. Its place is its name below the project, such as
`global/networks/default` or `regions/us-west1/subnetworks/default`.
"""

import datetime as dt
import hashlib
import ipaddress
import re
import uuid
from collections.abc import Iterator

from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.rpc.json_methods import Json, kept, listed
from devenv.gcp.store import Store

LINK = "https://www.googleapis.com/compute/v1"
NETWORKS, SUBNETWORKS, ADDRESSES = "networks", "subnetworks", "addresses"
FIREWALLS, ROUTES = "firewalls", "routes"
GATEWAY = "global/gateways/default-internet-gateway"
_ROUTE = "global/routes/default-route-"
DEFAULT = "default"
DEFAULT_MTU = 1460
VPC_PEERING = "VPC_PEERING"
_SCOPE = r"(?:global|regions/[^/]+)"
_REFERENCE = re.compile(
    rf"(?:https://[a-z.]+/compute/v1/)?(?:projects/([^/]+)/)?({_SCOPE}/([a-z]+)/([^/]+))"
)
# https://cloud.google.com/vpc/docs/subnets#ip-ranges: the second number of a region's range 10.N.0.0/20.
_AUTOMATIC = {
    "us-central1": 128,
    "europe-west1": 132,
    "us-west1": 138,
    "asia-east1": 140,
    "us-east1": 142,
    "asia-northeast1": 146,
    "asia-southeast1": 148,
    "us-east4": 150,
    "australia-southeast1": 152,
    "europe-west2": 154,
    "europe-west3": 156,
    "southamerica-east1": 158,
    "asia-south1": 160,
    "northamerica-northeast1": 162,
    "europe-west4": 164,
    "europe-north1": 166,
    "us-west2": 168,
    "europe-west6": 172,
}
_ELSEWHERE = 220
_AUTOMATIC_RANGE = ipaddress.ip_network("10.128.0.0/9")
# https://docs.cloud.google.com/vpc/docs/subnets#ipv6-ranges
INTERNAL_IPV6, IPV6_PREFIX = ipaddress.IPv6Network("fd20::/20"), 48
# https://www.rfc-editor.org/rfc/rfc3849: addresses that lead nowhere.
_EXTERNAL_IPV6, _SUBNETWORK_IPV6 = ipaddress.IPv6Network("2001:db8::/32"), 64
_SEEDED, _SEEDED_RULES = "seeded", "rules"
# https://cloud.google.com/firewall/docs/firewalls#more_rules_default_vpc
_DEFAULT_RULES = (
    (
        "internal",
        "Allow internal traffic on the default network",
        "10.128.0.0/9",
        ("tcp", "0-65535"),
        ("udp", "0-65535"),
        ("icmp",),
    ),
    ("ssh", "Allow SSH from anywhere", "0.0.0.0/0", ("tcp", "22")),
    ("rdp", "Allow RDP from anywhere", "0.0.0.0/0", ("tcp", "3389")),
    ("icmp", "Allow ICMP from anywhere", "0.0.0.0/0", ("icmp",)),
)
_RULE_PRIORITY, _ROUTE_PRIORITY = 65534, 1000


class ComputeRecords:
    """The records of a project, which has the network `default` at first, as Google's projects do."""

    def __init__(self, config: CloudConfig, store: Store, clock: Clock) -> None:
        self._table = store.table("compute_resources")
        self._seeds = store.table("compute_seeds")
        self._clock = clock
        self._transaction = store.transaction
        self.project, self.number, self.region = config.project, config.number, config.region

    def seed(self) -> None:
        """Make the network `default`, once for ever."""
        with self._transaction():
            if self._seeds.get(_SEEDED) is None:
                self._seeds.put(_SEEDED, b"")
                self.add_network({"name": DEFAULT, "autoCreateSubnetworks": True})
            if self._seeds.get(_SEEDED_RULES) is None:  # later than the network in older data
                self._seeds.put(_SEEDED_RULES, b"")
                self._add_rules()
                for network in self.below("global/networks/"):
                    self._add_default_route(network)

    def full(self, place: str) -> str:
        """Return the full name of a resource."""
        return f"projects/{self.project}/{place}"

    def link(self, place: str) -> str:
        return f"{LINK}/{self.full(place)}"

    def find(self, place: str) -> Json | None:
        value = self._table.get(place)
        if value is None and place.startswith(_ROUTE):
            routes = {self.place_of(each["selfLink"]): each for each in self._local_routes()}
            return routes.get(place)
        return None if value is None else listed([value])[0]

    def existing(self, place: str) -> Json:
        """Return a record. Raises NotFound."""
        found = self.find(place)
        if found is None:
            raise NotFound(f"The resource '{self.full(place)[:300]}' was not found")
        return found

    def below(self, prefix: str) -> list[Json]:
        """Return the records whose place begins so, by name."""
        found = listed(value for _, value in self._table.scan(prefix))
        return [*found, *self._local_routes()] if prefix == "global/routes/" else found

    def put(self, record: Json) -> None:
        self._table.put(self.place_of(record["selfLink"]), kept(record))

    def delete(self, place: str) -> None:
        self._table.delete(place)

    def create(self, place: str, kind: str, fields: Json) -> Json:
        """Keep a new record with what Google adds to each. Raises AlreadyExists."""
        if self.find(place) is not None:
            raise AlreadyExists(f"The resource '{self.full(place)}' already exists")
        record = {
            "kind": f"compute#{kind}",
            "id": str(uuid.uuid4().int >> 65),
            "creationTimestamp": self.now(),
            **fields,
            "selfLink": self.link(place),
        }
        if place.startswith("regions/"):
            record["region"] = self.link(f"regions/{self.region}")
        self.put(record)
        return record

    def now(self) -> str:
        moment = dt.datetime.fromtimestamp(self._clock.now(), dt.UTC)
        return moment.isoformat(timespec="milliseconds")

    # Networks

    def add_network(self, fields: Json) -> Json:
        """Keep a new network, in auto mode with the subnetwork of the region."""
        place = f"global/networks/{fields['name']}"
        fields = {"mtu": DEFAULT_MTU, "routingConfig": {"routingMode": "REGIONAL"}, **fields}
        self.complete_network(fields)
        made = self.create(place, "network", fields)
        self._add_default_route(made)
        if fields["autoCreateSubnetworks"]:
            second = _AUTOMATIC.get(self.region, _ELSEWHERE)
            subnetwork = {"name": fields["name"], "ipCidrRange": f"10.{second}.0.0/20"}
            self.add_subnetwork({**subnetwork, "network": self.link(place)})
        return made

    def complete_network(self, fields: Json) -> None:
        """Give a network with internal IPv6 addresses their range, if it has none."""
        if fields.get("enableUlaInternalIpv6") and not fields.get("internalIpv6Range"):
            taken = [each.get("internalIpv6Range") for each in self.below("global/networks/")]
            ranges = INTERNAL_IPV6.subnets(new_prefix=IPV6_PREFIX)
            fields["internalIpv6Range"] = next(
                str(each) for each in ranges if str(each) not in taken
            )

    def _prefix_of(self, fields: Json) -> Json:
        """Return the IPv6 range of a new subnetwork, by the name of its field."""
        access = fields.get("ipv6AccessType")
        if not access:
            return {}
        name = "internalIpv6Prefix" if access == "INTERNAL" else "externalIpv6Prefix"
        network = self.referenced(fields["network"], "resource.network")
        space = (
            ipaddress.IPv6Network(network["internalIpv6Range"]) if access == "INTERNAL" else None
        )
        taken = {each.get(name) for each in self.below(f"regions/{self.region}/subnetworks/")}
        ranges = (space or _EXTERNAL_IPV6).subnets(new_prefix=_SUBNETWORK_IPV6)
        return {name: next(str(each) for each in ranges if str(each) not in taken)}

    def add_subnetwork(self, fields: Json) -> Json:
        """Keep a new subnetwork. Raises AlreadyExists, and InvalidArgument for a range that is taken."""
        wanted = ipaddress.ip_network(fields["ipCidrRange"])
        place = f"regions/{self.region}/subnetworks/{fields['name']}"
        if self.find(place) is None:
            for other in self.subnetworks_of(fields["network"]):
                if wanted.overlaps(ipaddress.ip_network(other["ipCidrRange"])):
                    raise InvalidArgument(
                        f"Invalid IPCidrRange: {wanted} conflicts with existing subnetwork "
                        f"'{other['name']}' in region '{self.region}'."
                    )
        fields = {
            "purpose": "PRIVATE",
            "stackType": "IPV4_ONLY",
            "privateIpGoogleAccess": False,
            **fields,
            **self._prefix_of(fields),
            "gatewayAddress": str(wanted[1]),
        }
        return self.create(place, "subnetwork", fields)

    def subnetworks_of(self, link: str) -> list[Json]:
        """Return the subnetworks of the network with a link."""
        found = self.below(f"regions/{self.region}/subnetworks/")
        return [each for each in found if each["network"] == link]

    def addresses_of(self, link: str) -> list[Json]:
        """Return the internal ranges and addresses of the network with a link."""
        found = [*self.below("global/addresses/"), *self.below(f"regions/{self.region}/addresses/")]
        subnetworks = {each["selfLink"] for each in self.subnetworks_of(link)}
        return [
            each
            for each in found
            if each.get("network") == link or each.get("subnetwork") in subnetworks
        ]

    # Rules and routes

    def rules_of(self, link: str) -> list[Json]:
        """Return the firewall rules and the routes of one's own of the network with a link."""
        found = [*self.below("global/firewalls/"), *self.below("global/routes/")]
        return [each for each in found if each["network"] == link and not is_default(each)]

    def delete_default_routes(self, link: str) -> None:
        """Delete the routes that go with the network with a link."""
        for each in self.below("global/routes/"):
            if each["network"] == link and is_default(each):
                self.delete(self.place_of(each["selfLink"]))

    def _add_rules(self) -> None:
        """Make the firewall rules of the network `default`, if it is there."""
        if self.find(place := f"global/networks/{DEFAULT}") is None:
            return
        for name, text, source, *traffic in _DEFAULT_RULES:
            allowed = [
                {"IPProtocol": protocol, **({"ports": ports} if ports else {})}
                for protocol, *ports in traffic
            ]
            rule = {
                "name": f"default-allow-{name}",
                "description": text,
                "network": self.link(place),
                "priority": _RULE_PRIORITY,
                "direction": "INGRESS",
                "disabled": False,
                "logConfig": {"enable": False},
                "sourceRanges": [source],
                "allowed": allowed,
            }
            self.create(f"global/firewalls/{rule['name']}", "firewall", rule)

    def _add_default_route(self, network: Json) -> None:
        name = _default_route(network["selfLink"])
        place = f"global/routes/{name}"
        if self.find(place) is None:
            fields = {
                "name": name,
                "description": "Default route to the Internet.",
                "network": network["selfLink"],
                "destRange": "0.0.0.0/0",
                "priority": _ROUTE_PRIORITY,
                "nextHopGateway": self.link(GATEWAY),
            }
            self.create(place, "route", fields)

    def _local_routes(self) -> Iterator[Json]:
        """Yield the route to each subnetwork, which is there as long as that is."""
        for each in self.below(f"regions/{self.region}/subnetworks/"):
            ranges = (
                each.get(name)
                for name in ("ipCidrRange", "internalIpv6Prefix", "externalIpv6Prefix")
            )
            for index, wanted in enumerate(filter(None, ranges)):
                digest = _digest(each["selfLink"] + "/6" * index)
                yield {
                    "kind": "compute#route",
                    "id": str(int(digest, 16)),
                    "creationTimestamp": each["creationTimestamp"],
                    "name": f"default-route-{digest}",
                    "description": f"Default local route to the subnetwork {wanted}.",
                    "network": each["network"],
                    "destRange": wanted,
                    "priority": 0,
                    "nextHopNetwork": each["network"],
                    "selfLink": self.link(f"{_ROUTE}{digest}"),
                }

    def free_range(self, link: str, prefix: int) -> str:
        """Return the first address of a range that nothing in a network has. Raises FailedPrecondition."""
        taken = [
            _AUTOMATIC_RANGE,
            *(ipaddress.ip_network(each["ipCidrRange"]) for each in self.subnetworks_of(link)),
            *(range_of(each) for each in self.addresses_of(link) if "prefixLength" in each),
        ]
        for candidate in _candidates(prefix):
            if not any(candidate.overlaps(each) for each in taken):
                return str(candidate.network_address)
        raise FailedPrecondition(f"The network has no free range with a prefix of {prefix} bits.")

    def place_of(self, reference: str, where: str = "") -> str:
        """Return the place that a URL or a partial one means. Raises InvalidArgument or NotFound."""
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise InvalidArgument(
                f"Invalid value for field '{where}': '{reference[:200]}'. The URL is malformed."
            )
        if match[1] not in (None, self.project, self.number):
            raise NotFound(f"The resource '{reference[:300]}' was not found")
        return match[2]

    def referenced(self, reference: str, where: str) -> Json:
        """Return the record that a field refers to. Raises InvalidArgument or NotFound."""
        return self.existing(self.place_of(reference, where))


def is_default(record: Json) -> bool:
    """Return whether a record is a route that Google makes with a network or subnetwork."""
    return "nextHopNetwork" in record or record["name"] == _default_route(record["network"])


def _default_route(link: str) -> str:
    """Return the name of the route to the internet of the network with a link."""
    return f"default-route-{_digest(link)}"


def _digest(link: str) -> str:
    return hashlib.sha256(link.encode()).hexdigest()[:16]


def range_of(address: Json) -> ipaddress.IPv4Network:
    """Return the range of an address with a prefix length."""
    return ipaddress.IPv4Network((address["address"], address["prefixLength"]))


def _candidates(prefix: int) -> Iterator[ipaddress.IPv4Network]:
    """Yield the ranges of a size, in the order in which they are given away."""
    space = ipaddress.IPv4Network("10.0.0.0/9")
    if prefix <= space.prefixlen:
        return
    # Beside one after the other they leave the small ones at the beginning to people.
    start = ipaddress.IPv4Network("10.64.0.0/10") if prefix > 10 else space
    yield from start.subnets(new_prefix=prefix)
