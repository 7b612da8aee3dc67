"""The methods of Service Networking as the server wires them, and what other services ask about networks.

After https://cloud.google.com/service-infrastructure/docs/service-networking/reference/rest. The one
producer is `servicenetworking.googleapis.com`, that of Google's own services. Operations are done
at once, and a failed one has its error, as with Google.
"""

import ipaddress
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.compute.fields import checked
from devenv.gcp.compute.records import VPC_PEERING, ComputeRecords, range_of
from devenv.gcp.errors import CloudError, FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.rpc import Handler, HttpRule, Rpc
from devenv.gcp.rpc.json_methods import (
    Json,
    JsonAnswer,
    body_of,
    json_answer,
    json_request,
    kept,
    listed,
    texts,
)
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

ConnectionRequest: Any = json_request(
    "service_networking",
    "ConnectionRequest",
    texts("name", "parent", "network", "update_mask") | {"force": bool},
)
PRODUCER = "servicenetworking.googleapis.com"
PEERING = "servicenetworking-googleapis-com"
_TYPES = "type.googleapis.com/google.cloud.servicenetworking.v1"
_CONNECTION = {"network": str, "reservedPeeringRanges": list, "peering": str, "service": str}


class PrivateConnections:
    """The connections of a project's networks, by the network's name."""

    def __init__(self, records: ComputeRecords, store: Store) -> None:
        self._records = records
        self._table = store.table("service_networking_connections")

    def of(self, network: str) -> Json | None:
        """Return the connection of a network by its name."""
        value = self._table.get(network)
        return None if value is None else listed([value])[0]

    def all(self) -> list[Json]:
        return listed(value for _, value in self._table.scan())

    def put(self, network: str, connection: Json) -> None:
        """Keep a connection, and note the peering at the network."""
        self._table.put(network, kept(connection))
        self._note(network, [_peering_of(self._records.number)])

    def delete(self, network: str) -> None:
        self._table.delete(network)
        self._note(network, [])

    def _note(self, network: str, peerings: list[Json]) -> None:
        record = self._records.existing(f"global/networks/{network}")
        others = [each for each in record.get("peerings", []) if each["name"] != PEERING]
        self._records.put({**record, "peerings": [*others, *peerings]})

    def user_of(self, link: str) -> str:
        """Return what keeps the network with a link from being deleted, nothing if nothing does."""
        network = link.rpartition("/global/networks/")[2]
        return PEERING if self._table.get(network) is not None else ""

    def check_peered(self, reference: str, instance: str) -> ipaddress.IPv4Network:
        """Return the first range that Google's services have in a network.

        Raises InvalidArgument, which names `instance`, for a network that does not exist or has none.
        """
        name = reference.rpartition("/")[2]
        try:
            self._records.referenced(reference, "settings.ipConfiguration.privateNetwork")
        except NotFound as error:
            raise InvalidArgument(f"Invalid request: {error.message}.") from error
        connection = self.of(name)
        if connection is None:
            raise InvalidArgument(
                "Invalid request: Incorrect Service Networking config for instance: "
                f"{self._records.project}:{instance}:NETWORK_NOT_PEERED."
            )
        for each in connection["reservedPeeringRanges"]:
            # An allocated range can be deleted while its connection stays.
            if (allocated := self._records.find(f"global/addresses/{each}")) is not None:
                return range_of(allocated)
        raise InvalidArgument(
            "Failed to create subnetwork. Couldn't find free blocks in allocated IP ranges. Please "
            "allocate new ranges for this service provider."
        )


class ServiceNetworkingService(CloudService):
    """`uses` yields the networks, by their names, in which services of Google's have addresses."""

    def __init__(
        self,
        *,
        guard: Guard,
        records: ComputeRecords,
        connections: PrivateConnections,
        store: Store,
        uses: Callable[[], Iterable[str]],
    ) -> None:
        self._guard = guard
        self._records = records
        self._connections = connections
        self._operations = store.table("service_networking_operations")
        self._transaction = store.transaction
        self._uses = uses

    def rpcs(self) -> Iterator[Rpc]:
        below, one = "{parent=services/*}/connections", "{name=services/*/connections/*}"
        for name, handle, verb, path in (
            ("CreateConnection", self.create, "POST", below),
            ("ListConnections", self.list_connections, "GET", below),
            ("UpdateConnection", self.update, "PATCH", one),
            ("DeleteConnection", self.delete, "POST", one),
            ("GetOperation", self.operation, "GET", "{name=operations/*}"),
        ):
            yield _rpc(name, handle, verb, path)

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(call, "addPeering", request.parent)
        given = checked(body_of(request), _CONNECTION, "connection")
        network = self._network(given.get("network", ""), "connection.network")
        ranges = self._ranges(given, network)
        before = self._connections.of(network)
        if before is not None and ranges not in ([], before["reservedPeeringRanges"]):
            text = (
                "Cannot modify allocated ranges in CreateConnection. Please use UpdateConnection."
            )
            return self._failed(FailedPrecondition(text))
        if before is None and not ranges:
            raise InvalidArgument("connection.reservedPeeringRanges must name a range.")
        return self._connect(
            network, ranges or before["reservedPeeringRanges"] if before else ranges
        )

    async def list_connections(self, request: Any, call: ApiCall) -> Any:
        # gcloud asks for the connections of all services.
        if request.parent != "services/-":
            _check_producer(request.parent)
        self._require(call, "get")
        network = self._network(request.network, "network")
        found = self._connections.of(network)
        return json_answer({"connections": [found]} if found else {})

    async def update(self, request: Any, call: ApiCall) -> Any:
        self._allow(call, "addPeering", request.name)
        given = checked(body_of(request), _CONNECTION, "connection")
        network = self._network(given.get("network", ""), "connection.network")
        before, ranges = self._connections.of(network), self._ranges(given, network)
        if before is None:
            return self._failed(NotFound(f"The network {network} has no connection."))
        if not ranges:
            raise InvalidArgument("connection.reservedPeeringRanges must name a range.")
        gone = set(before["reservedPeeringRanges"]) - set(ranges)
        if gone and not request.force:
            text = f"The range {min(gone)} may be in use; to take it away set force."
            return self._failed(FailedPrecondition(text))
        return self._connect(network, ranges)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        self._allow(call, "deleteConnection", request.name)
        given = checked(body_of(request), {"consumerNetwork": str}, "request")
        network = self._network(given.get("consumerNetwork", ""), "consumerNetwork")
        if self._connections.of(network) is None:
            return self._failed(NotFound(f"The network {network} has no connection."))
        if network in self._uses():
            return self._failed(
                FailedPrecondition(
                    "Failed to delete connection; Producer services (e.g. CloudSQL, Cloud Memstore, etc.) "
                    "are still using this connection."
                )
            )
        with self._transaction():
            self._connections.delete(network)
            return self._done({"@type": "type.googleapis.com/google.protobuf.Empty"})

    async def operation(self, request: Any, call: ApiCall) -> Any:
        self._require(call, "get")
        value = self._operations.get(request.name)
        if value is None:
            raise NotFound(f"Operation not found: {request.name[:200]}")
        return json_answer(listed([value])[0])

    def _connect(self, network: str, ranges: list[str]) -> Any:
        connection = {
            "network": f"projects/{self._records.number}/global/networks/{network}",
            "peering": PEERING,
            "reservedPeeringRanges": ranges,
            "service": f"services/{PRODUCER}",
        }
        with self._transaction():
            self._connections.put(network, connection)
            return self._done({"@type": f"{_TYPES}.Connection", **connection})

    def _done(self, response: Json) -> Any:
        return self._kept({"response": response})

    def _failed(self, error: CloudError) -> Any:
        return self._kept({"error": {"code": error.code, "message": error.message}})

    def _kept(self, end: Json) -> Any:
        name = f"operations/pssn.p24-{self._records.number}-{uuid.uuid4()}"
        operation = {"name": name, "done": True, **end}
        self._operations.put(name, kept(operation))
        return json_answer(operation)

    def _network(self, reference: str, where: str) -> str:
        """Return the name of a network, given with the project's number. Raises InvalidArgument."""
        parts = reference.split("/")
        place = "/".join(parts[2:])
        if len(parts) != 5 or parts[0] != "projects" or not place.startswith("global/networks/"):
            raise InvalidArgument(
                f"{where} is {reference[:200]!r}; it must be formatted: "
                "projects/PROJECT_NUMBER/global/networks/NETWORK."
            )
        if parts[1] != self._records.number:
            raise InvalidArgument(
                f"{where} names the project {parts[1][:60]!r}; it must have the project's number, "
                f"{self._records.number}."
            )
        return str(self._records.existing(place)["name"])

    def _ranges(self, given: Json, network: str) -> list[str]:
        """Return the names of ranges that were allocated in a network. Raises InvalidArgument."""
        names = given.get("reservedPeeringRanges", [])
        link = self._records.link(f"global/networks/{network}")
        for name in names:
            found = self._records.find(f"global/addresses/{name}")
            if found is None or (found.get("purpose"), found.get("network")) != (VPC_PEERING, link):
                raise InvalidArgument(
                    f"connection.reservedPeeringRanges names {str(name)[:100]!r}, which is no range with "
                    f"the purpose {VPC_PEERING} in the network {network}."
                )
        return [str(name) for name in names]

    def _allow(self, call: ApiCall, verb: str, name: str) -> None:
        _check_producer(name)
        self._require(call, verb)

    def _require(self, call: ApiCall, verb: str) -> None:
        project = f"projects/{self._records.project}"
        self._guard.require(call.caller, f"servicenetworking.services.{verb}", project)


def _check_producer(name: str) -> None:
    """Raise NotFound for a connection with another service than Google's own."""
    service = name.split("/")[1]
    if service != PRODUCER:
        raise NotFound(f"The service {service[:100]} is not emulated; the only one is {PRODUCER}.")


def _peering_of(number: str) -> Json:
    """Return a connection as the consumer's network shows it; the producer's project is made up."""
    producer = f"https://www.googleapis.com/compute/v1/projects/t{number}-tp/global/networks"
    return {
        "name": PEERING,
        "network": f"{producer}/servicenetworking",
        "state": "ACTIVE",
        "stateDetails": "[Emulated]: Connected.",
        **dict.fromkeys(("autoCreateRoutes", "exchangeSubnetRoutes"), True),
        **dict.fromkeys(("exportCustomRoutes", "importCustomRoutes"), False),
    }


def _rpc(name: str, handle: Handler, verb: str, path: str) -> Rpc:
    rule = HttpRule(verb, f"/v1/{path}", "body" if verb in ("POST", "PATCH") else "")
    method = f"google.cloud.servicenetworking.v1.ServicePeeringManager/{name}"
    return Rpc(method, ConnectionRequest, JsonAnswer, handle, (rule,))
