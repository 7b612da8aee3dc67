"""Direct VPC egress of Cloud Run: whether the network and the subnetwork exist.

After https://cloud.google.com/run/docs/configuring/vpc-direct-vpc: either may be named alone, and a
network alone means the subnetwork of its own name. Nothing passes through them.
"""

import ipaddress
from typing import Any

from devenv.gcp.compute.records import SUBNETWORKS, ComputeRecords
from devenv.gcp.errors import InvalidArgument, NotFound

_LARGEST_PREFIX = (
    26  # https://cloud.google.com/run/docs/configuring/vpc-direct-vpc#supported-ip-ranges
)


class EgressCheck:
    """The check of a template's VpcAccess against the networks of the project."""

    def __init__(self, records: ComputeRecords) -> None:
        self._records = records

    def __call__(self, where: str, access: Any) -> None:
        """Raise InvalidArgument for a network or a subnetwork that cannot be used."""
        for index, interface in enumerate(access.network_interfaces):
            place = f"{where}.network_interfaces[{index}]"
            if not interface.network and not interface.subnetwork:
                raise InvalidArgument(f"{place}: network or subnetwork is required.")
            self._check(place, interface.network, interface.subnetwork)

    def _check(self, place: str, network: str, subnetwork: str) -> None:
        found = network and self._find(f"{place}.network", network, "global/networks")
        region = f"regions/{self._records.region}/{SUBNETWORKS}"
        wanted = subnetwork or network.rpartition("/")[2]
        inside = self._find(f"{place}.subnetwork", wanted, region)
        if found and inside["network"] != found["selfLink"]:
            full = self._records.full(f"{region}/{inside['name']}")
            raise InvalidArgument(
                f'{place}: Subnetwork "{full}" is not valid for Network "{found["name"]}".'
            )
        size = ipaddress.IPv4Network(inside["ipCidrRange"]).prefixlen
        if size > _LARGEST_PREFIX:
            raise InvalidArgument(
                f"{place}.subnetwork: {inside['name']} has {inside['ipCidrRange']}; Direct VPC egress "
                f"needs a range of /{_LARGEST_PREFIX} or larger."
            )

    def _find(self, where: str, reference: str, collection: str) -> Any:
        """Return the record of a short or full name."""
        full = reference if "/" in reference else f"{collection}/{reference}"
        try:
            return self._records.referenced(full, where)
        except NotFound as error:
            raise InvalidArgument(f"{where}: {error.message}.") from error
