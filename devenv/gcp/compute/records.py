"""The networks, subnetworks and addresses that the store has, and how they refer to each other.

A record is the JSON of the API. Its place is its name below the project, such as
`global/networks/default` or `regions/us-west1/subnetworks/default`.
"""

import datetime as dt
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
_SEEDED = "seeded"


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

    def full(self, place: str) -> str:
        """Return the full name of a resource."""
        return f"projects/{self.project}/{place}"

    def link(self, place: str) -> str:
        return f"{LINK}/{self.full(place)}"

    def find(self, place: str) -> Json | None:
        value = self._table.get(place)
        return None if value is None else listed([value])[0]

    def existing(self, place: str) -> Json:
        """Return a record. Raises NotFound."""
        found = self.find(place)
        if found is None:
            raise NotFound(f"The resource '{self.full(place)[:300]}' was not found")
        return found

    def below(self, prefix: str) -> list[Json]:
        """Return the records whose place begins so, by name."""
        return listed(value for _, value in self._table.scan(prefix))

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
        made = self.create(place, "network", fields)
        if fields["autoCreateSubnetworks"]:
            second = _AUTOMATIC.get(self.region, _ELSEWHERE)
            subnetwork = {"name": fields["name"], "ipCidrRange": f"10.{second}.0.0/20"}
            self.add_subnetwork({**subnetwork, "network": self.link(place)})
        return made

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
