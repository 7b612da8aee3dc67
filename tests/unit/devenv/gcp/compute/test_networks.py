"""Networks, subnetworks, addresses, and the connection of a network with Google's services."""

from typing import Any

import httpx
import pytest
from google.cloud import run_v2

from devenv.gcp.clock import ManualClock
from devenv.gcp.compute.egress import EgressCheck
from devenv.gcp.compute.records import ComputeRecords
from devenv.gcp.compute.service import ComputeService
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.service_networking.service import PrivateConnections, ServiceNetworkingService
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, MemoryJournal, MemoryStore, no_faults

pytestmark = pytest.mark.anyio
NETWORK = "projects/123456789012/global/networks/inside"
RANGE = {
    "name": "range",
    "addressType": "INTERNAL",
    "purpose": "VPC_PEERING",
    "prefixLength": 16,
    "network": "global/networks/inside",
}
SUBNETWORK = {"name": "sub", "network": "global/networks/inside", "ipCidrRange": "10.1.0.0/24"}
CONNECTIONS = "/v1/services/servicenetworking.googleapis.com/connections"


class NetworksBench:
    """Both APIs of one project by REST, in the loop of the test."""

    def __init__(self) -> None:
        self.store, self.guard = MemoryStore(), FakeGuard()
        self.in_use: list[str] = []
        config = CloudConfig(project="p")
        self.records = ComputeRecords(config, self.store, ManualClock())
        self.records.seed()
        self.connections = PrivateConnections(self.records, self.store)
        compute = ComputeService(
            config=config,
            store=self.store,
            guard=self.guard,
            records=self.records,
            in_use=self.connections.user_of,
        )
        peering = ServiceNetworkingService(
            guard=self.guard,
            records=self.records,
            connections=self.connections,
            store=self.store,
            uses=lambda: self.in_use,
        )
        calls = Calls(Everybody(), MemoryJournal(), no_faults())
        self._app = RestApp([*compute.rpcs(), *peering.rpcs()], calls)

    async def ask(self, verb: str, path: str, body: Any = None) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            place = path if path.startswith("/") else f"/compute/v1/projects/p/{path}"
            return await client.request(verb, place, json=body)

    async def done(self, verb: str, path: str, body: Any = None) -> Any:
        """Return an operation that succeeded."""
        answer = await self.ask(verb, path, body)
        operation = answer.json()
        assert answer.status_code == 200, operation
        assert operation.get("status") == "DONE" or operation["done"]
        assert "error" not in operation, operation
        return operation

    async def make_network(self) -> None:
        """Create the network `inside` with a subnetwork and a range for Google's services."""
        network = {"name": "inside", "autoCreateSubnetworks": False}
        await self.done("POST", "global/networks", network)
        await self.done("POST", "regions/us-west1/subnetworks", SUBNETWORK)
        await self.done("POST", "global/addresses", RANGE)

    async def connect(self, **changes: Any) -> httpx.Response:
        body = {"network": NETWORK, "reservedPeeringRanges": ["range"], **changes}
        return await self.ask("POST", CONNECTIONS, body)


@pytest.fixture
def bench() -> NetworksBench:
    return NetworksBench()


async def test_new_project_has_the_default_network(bench: NetworksBench) -> None:
    network = (await bench.ask("GET", "global/networks/default")).json()
    subnetworks = (await bench.ask("GET", "aggregated/subnetworks")).json()["items"]

    assert network["autoCreateSubnetworks"] is True
    assert network["subnetworks"][0].endswith("/regions/us-west1/subnetworks/default")
    assert subnetworks["regions/us-west1"]["subnetworks"][0]["ipCidrRange"] == "10.138.0.0/20"


async def test_deleted_default_network_does_not_come_back(bench: NetworksBench) -> None:
    in_use = await bench.ask("DELETE", "global/networks/default")
    for rule in ("internal", "ssh", "rdp", "icmp"):
        await bench.done("DELETE", f"global/firewalls/default-allow-{rule}")
    operation = await bench.done("DELETE", "global/networks/default")
    waited = await bench.done("POST", f"global/operations/{operation['name']}/wait")
    bench.records.seed()

    assert waited["operationType"] == "delete"
    assert in_use.json()["error"]["errors"][0]["reason"] == "resourceInUseByAnotherResource"
    assert "already being used by 'projects/p/global/firewalls/" in in_use.text
    assert "items" not in (await bench.ask("GET", "global/routes")).json()
    assert "items" not in (await bench.ask("GET", "global/networks")).json()
    assert (await bench.ask("GET", "regions/us-west1/subnetworks/default")).status_code == 404


async def test_connection_gives_google_a_range_of_the_network(bench: NetworksBench) -> None:
    await bench.make_network()
    made = (await bench.connect()).json()
    again = (await bench.connect()).json()
    listed = (await bench.ask("GET", f"{CONNECTIONS}?network={NETWORK}")).json()
    network = (await bench.ask("GET", "global/networks/inside")).json()

    assert made["response"]["@type"].endswith("v1.Connection")
    assert again["response"] == made["response"]
    assert listed["connections"][0]["reservedPeeringRanges"] == ["range"]
    assert network["peerings"][0]["state"] == "ACTIVE"
    assert str(bench.connections.check_peered("projects/p/global/networks/inside", "db")) == (
        "10.64.0.0/16"
    )


async def test_network_in_use_is_not_deleted(bench: NetworksBench) -> None:
    await bench.make_network()
    await bench.connect()
    bench.in_use.append("inside")
    disconnect = {"consumerNetwork": NETWORK}
    network = await bench.ask("DELETE", "global/networks/inside")
    refused = (await bench.ask("POST", f"{CONNECTIONS}/-", disconnect)).json()
    bench.in_use.clear()
    await bench.done("POST", f"{CONNECTIONS}/-", disconnect)
    await bench.done("DELETE", "global/addresses/range")
    await bench.done("DELETE", "regions/us-west1/subnetworks/sub")
    await bench.done("DELETE", "global/networks/inside")

    assert network.status_code == 400
    assert "already being used by 'projects/p/regions/us-west1/subnetworks/sub'" in network.text
    assert "still using this connection" in refused["error"]["message"]


async def test_other_ranges_of_a_connection_need_an_update(bench: NetworksBench) -> None:
    await bench.make_network()
    await bench.connect()
    await bench.done("POST", "global/addresses", {**RANGE, "name": "second"})
    body = {"network": NETWORK, "reservedPeeringRanges": ["second"]}
    refused = (await bench.connect(reservedPeeringRanges=["second"])).json()
    unforced = (await bench.ask("PATCH", f"{CONNECTIONS}/-", body)).json()
    await bench.done("PATCH", f"{CONNECTIONS}/-?force=true", body)

    assert "Please use UpdateConnection" in refused["error"]["message"]
    assert "set force" in unforced["error"]["message"]
    assert str(bench.connections.check_peered(NETWORK, "db")) == "10.65.0.0/16"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("global/networks", {"name": "Inside"}, 400, "'resource.name': 'Inside'"),
        ("global/networks", {"name": "legacy"}, 501, "legacy"),
        ("global/networks", {"name": "default", "autoCreateSubnetworks": True}, 409, "already"),
        ("global/networks", {"name": "n", "autoCreateSubnetworks": "yes"}, 400, "wrong type"),
        ("regions/us-west1/subnetworks", {"name": "s"}, 400, "'resource.network' not specified"),
        (
            "regions/us-west1/subnetworks",
            {**SUBNETWORK, "network": "global/networks/none"},
            404,
            "'projects/p/global/networks/none' was not found",
        ),
        (
            "regions/us-west1/subnetworks",
            {**SUBNETWORK, "network": "global/networks/default", "ipCidrRange": "10.138.1.0/24"},
            400,
            "conflicts with existing subnetwork 'default'",
        ),
        ("regions/us-west1/subnetworks", {**SUBNETWORK, "ipCidrRange": "8.8.8.0"}, 400, "private"),
        ("regions/mars/subnetworks", SUBNETWORK, 400, "Unknown region"),
        ("global/addresses", {**RANGE, "prefixLength": 40}, 400, "from 8 to 29"),
        ("global/addresses", {**RANGE, "labels": {"a": "b"}}, 501, "resource.labels"),
        ("global/addresses", {**RANGE, "name": {"a": "/"}}, 400, "resource.name"),
        (
            "global/addresses",
            {**RANGE, "network": "global/networks/default", "address": "10.138.0.0"},
            400,
            "overlaps with that of the subnetwork default",
        ),
    ],
)
async def test_invalid_resource_is_refused_by_its_field(
    bench: NetworksBench, path: str, body: Any, status: int, text: str
) -> None:
    answer = await bench.ask("POST", path, body)

    assert (answer.status_code, text in answer.text) == (status, True), answer.text


async def test_connection_names_what_is_wrong_with_it(bench: NetworksBench) -> None:
    await bench.make_network()
    by_id = await bench.connect(network="projects/p/global/networks/inside")
    unknown = await bench.connect(reservedPeeringRanges=["none"])
    empty = await bench.connect(reservedPeeringRanges=[])
    elsewhere = await bench.ask("GET", f"/v1/services/example.com/connections?network={NETWORK}")

    assert "it must have the project's number, 123456789012" in by_id.text
    assert "names 'none'" in unknown.text
    assert "must name a range" in empty.text
    assert elsewhere.status_code == 404


@pytest.mark.parametrize(
    ("network", "text"),
    [
        ("projects/p/global/networks/none", "networks/none' was not found"),
        ("projects/p/global/networks/default", "p:db:NETWORK_NOT_PEERED"),
    ],
)
def test_private_address_needs_a_connected_network(
    bench: NetworksBench, network: str, text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text):
        bench.connections.check_peered(network, "db")


async def test_errors_have_the_list_of_compute(bench: NetworksBench) -> None:
    text = "The resource 'projects/p/global/networks/none' was not found"
    error = (await bench.ask("GET", "global/networks/none")).json()["error"]

    assert error == {
        "code": 404,
        "message": text,
        "errors": [{"message": text, "domain": "global", "reason": "notFound"}],
        "status": "NOT_FOUND",
    }


async def test_each_method_asks_for_its_permission(bench: NetworksBench) -> None:
    await bench.make_network()

    assert bench.guard.asked == [
        ("compute.networks.create", "projects/p/global/networks/inside"),
        ("compute.subnetworks.create", "projects/p/regions/us-west1/subnetworks/sub"),
        ("compute.globalAddresses.createInternal", "projects/p/global/addresses/range"),
        ("compute.networks.use", "projects/p/global/networks/inside"),
    ]


async def test_direct_egress_needs_an_existing_subnetwork(bench: NetworksBench) -> None:
    await bench.make_network()
    check = EgressCheck(bench.records)
    refusals = {}
    for network, subnetwork in (
        *(("default", ""), ("inside", "sub"), ("", "sub"), ("", "")),
        *(("none", ""), ("inside", ""), ("default", "sub")),
    ):
        access = run_v2.VpcAccess.pb()()
        access.network_interfaces.add(network=network, subnetwork=subnetwork)
        try:
            check("vpc_access", access)
        except InvalidArgument as error:
            refusals[network, subnetwork] = error.message

    assert set(refusals) == {("", ""), ("none", ""), ("inside", ""), ("default", "sub")}
    assert "networks/none' was not found" in refusals["none", ""]
    assert "subnetworks/inside' was not found" in refusals["inside", ""]
    assert "is not valid for Network" in refusals["default", "sub"]
