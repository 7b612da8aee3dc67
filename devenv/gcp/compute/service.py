"""The methods of Compute Engine as the server wires them; operations are done at once."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.compute.fields import (
    changed_network,
    checked,
    filtered,
    new_address,
    new_network,
    new_subnetwork,
)
from devenv.gcp.compute.records import (
    ADDRESSES,
    FIREWALLS,
    NETWORKS,
    ROUTES,
    SUBNETWORKS,
    ComputeRecords,
)
from devenv.gcp.compute.rules import changed_firewall, new_firewall, new_route
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
    wrong_project,
)
from devenv.gcp.messages import page
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

ComputeRequest: Any = json_request(
    "compute",
    "ComputeRequest",
    texts("name", "parent", "filter", "order_by", "page_token", "request_id")
    | texts("service_project_number")
    | {"max_results": int, "return_partial_success": bool, "include_all_scopes": bool},
)
_GLOBAL, _REGION, _PROJECT = "projects/*/global", "projects/*/regions/*", "projects/*"
_LARGEST_PAGE = 500
_KEPT_OPERATIONS = 1000


class ComputeService(CloudService):
    """Networks, subnetworks, addresses, operations and the one region of a project.

    `in_use` returns what uses a network beyond its subnetworks and addresses: text for the refusal of
    its deletion, or nothing.
    """

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        guard: Guard,
        records: ComputeRecords,
        in_use: Callable[[str], str],
    ) -> None:
        self._project, self._number = config.project, config.number
        self._region = config.region
        self._guard = guard
        self._records = records
        self._in_use = in_use
        self._operations = store.table("compute_operations")
        self._transaction = store.transaction

    def rpcs(self) -> Iterator[Rpc]:
        for group, scope, plural in (
            ("Networks", _GLOBAL, NETWORKS),
            ("Subnetworks", _REGION, SUBNETWORKS),
            ("GlobalAddresses", _GLOBAL, ADDRESSES),
            ("Addresses", _REGION, ADDRESSES),
            ("Firewalls", _GLOBAL, FIREWALLS),
            ("Routes", _GLOBAL, ROUTES),
        ):
            below, one = f"{{parent={scope}}}/{plural}", f"{{name={scope}/{plural}/*}}"
            yield _rpc(f"{group}/Insert", self.insert(plural), "POST", below)
            yield _rpc(f"{group}/List", self.list_below(plural), "GET", below)
            yield _rpc(f"{group}/Get", self.get, "GET", one)
            yield _rpc(f"{group}/Delete", self.delete, "DELETE", one)
        for plural in (SUBNETWORKS, ADDRESSES):
            path = f"{{parent={_PROJECT}}}/aggregated/{plural}"
            method = f"{plural.capitalize()}/AggregatedList"
            yield _rpc(method, self.aggregated(plural), "GET", path)
        network = f"{{name={_GLOBAL}/{NETWORKS}/*}}"
        yield _rpc("Networks/Patch", self.patch_network, "PATCH", network)
        firewall = f"{{name={_GLOBAL}/{FIREWALLS}/*}}"
        for name, verb in (("Patch", "PATCH"), ("Update", "PUT")):
            handler = self.change_firewall(name.lower(), whole=verb == "PUT")
            yield _rpc(f"Firewalls/{name}", handler, verb, firewall)
        mode = f"{network}/switchToCustomMode"
        yield _rpc("Networks/SwitchToCustomMode", self.switch_to_custom_mode, "POST", mode)
        access = f"{{name={_REGION}/{SUBNETWORKS}/*}}/setPrivateIpGoogleAccess"
        method = "Subnetworks/SetPrivateIpGoogleAccess"
        yield _rpc(method, self.set_private_google_access, "POST", access)
        for group, scope in (("GlobalOperations", _GLOBAL), ("RegionOperations", _REGION)):
            one = f"{{name={scope}/operations/*}}"
            yield _rpc(f"{group}/Get", self.operation, "GET", one)
            yield _rpc(f"{group}/Wait", self.operation, "POST", f"{one}/wait", body=False)
            path = f"{{parent={scope}}}/operations"
            yield _rpc(f"{group}/List", self.list_operations, "GET", path)
        yield _rpc("Regions/Get", self.region, "GET", f"{{name={_REGION}}}")
        yield _rpc("Regions/List", self.list_regions, "GET", f"{{parent={_PROJECT}}}/regions")

    async def start(self) -> None:
        self._records.seed()

    # All kinds

    def insert(self, plural: str) -> Handler:
        async def inserted(request: Any, call: ApiCall) -> Any:
            scope, body = self._place(request.parent), body_of(request)
            place = f"{scope}/{plural}/{body.get('name', '')}"
            self._allow(call, self._creation(plural, body), place)
            with self._transaction():
                self._create(scope, plural, body, call)
                return self._done("insert", place, call)

        return inserted

    async def get(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        self._allow(call, "get", place)
        return json_answer(self._shown(self._records.existing(place)))

    def list_below(self, plural: str) -> Handler:
        async def found(request: Any, call: ApiCall) -> Any:
            scope = self._place(request.parent)
            self._allow(call, "list", f"{scope}/{plural}/")
            records = self._records.below(f"{scope}/{plural}/")
            return self._listed(records, request, plural, f"{scope}/{plural}")

        return found

    def aggregated(self, plural: str) -> Handler:
        """Return the handler that lists what all scopes have."""

        async def found(request: Any, call: ApiCall) -> Any:
            self._check_project(request.parent)
            scopes = ["global"] if plural == ADDRESSES else []
            items = {}
            for scope in (*scopes, f"regions/{self._region}"):
                self._allow(call, "list", f"{scope}/{plural}/")
                records = filtered(self._records.below(f"{scope}/{plural}/"), request.filter)
                items[scope] = {plural: records}
            kind = f"compute#{_singular(plural)}AggregatedList"
            link = self._records.link(f"aggregated/{plural}")
            return json_answer({"kind": kind, "items": items, "selfLink": link})

        return found

    async def delete(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        is_internal = (self._records.find(place) or {}).get("addressType") == "INTERNAL"
        self._allow(call, "deleteInternal" if is_internal else "delete", place)
        record = self._records.existing(place)
        if record["kind"] in ("compute#firewall", "compute#route"):
            self._allow(call, "updatePolicy", self._records.place_of(record["network"]))
        with self._transaction():
            self._check_free(place, record)
            if record["kind"] == "compute#network":
                self._records.delete_default_routes(record["selfLink"])
            if record.get("autoCreateSubnetworks"):
                for each in self._records.subnetworks_of(record["selfLink"]):
                    self._records.delete(self._records.place_of(each["selfLink"]))
            self._records.delete(place)
            return self._done("delete", place, call, record["id"])

    def _create(self, scope: str, plural: str, body: Json, call: ApiCall) -> None:
        if plural == NETWORKS:
            self._records.add_network(new_network(body))
        elif plural == SUBNETWORKS:
            fields = new_subnetwork(body, self._records)
            self._records.add_subnetwork(fields)
        elif plural in (FIREWALLS, ROUTES):
            make = new_firewall if plural == FIREWALLS else new_route
            fields = make(body, self._records)
            self._allow(call, "updatePolicy", self._records.place_of(fields["network"]))
            self._records.create(f"{scope}/{plural}/{fields['name']}", _singular(plural), fields)
        else:
            fields = new_address(body, self._records, is_global=scope == "global")
            if "network" in fields:
                self._allow(call, "use", self._records.place_of(fields["network"]))
            self._records.create(f"{scope}/{plural}/{fields['name']}", "address", fields)

    def _creation(self, plural: str, body: Json) -> str:
        is_internal = plural == ADDRESSES and body.get("addressType") == "INTERNAL"
        return "createInternal" if is_internal else "create"

    def _check_free(self, place: str, record: Json) -> None:
        """Raise CloudError if something else needs a resource."""
        users: list[Json] = []
        if record["kind"] == "compute#network":
            # The subnetworks of auto mode go with their network.
            if not record["autoCreateSubnetworks"]:
                users = self._records.subnetworks_of(record["selfLink"])
            users += self._records.addresses_of(record["selfLink"])
            users += self._records.rules_of(record["selfLink"])
        elif record["kind"] == "compute#route" and "nextHopNetwork" in record:
            raise InvalidArgument(
                f"The route '{self._records.full(place)}' is that of a subnetwork; it is deleted with it."
            )
        elif record["kind"] == "compute#subnetwork":
            addresses = self._records.addresses_of(record["network"])
            users = [each for each in addresses if each.get("subnetwork") == record["selfLink"]]
        names = [self._records.full(self._records.place_of(each["selfLink"])) for each in users]
        names += [found] if (found := self._in_use(record["selfLink"])) else []
        if names:
            kind = record["kind"].removeprefix("compute#")
            raise FailedPrecondition(
                f"The {kind} resource '{self._records.full(place)}' is already being used by '{names[0]}'"
            )

    def _shown(self, record: Json) -> Json:
        """Return a network with its subnetworks, another record as it is."""
        if record["kind"] != "compute#network":
            return record
        links = [each["selfLink"] for each in self._records.subnetworks_of(record["selfLink"])]
        return {**record, "subnetworks": links} if links else record

    # Changes

    async def patch_network(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        self._allow(call, "update", place)
        record = changed_network(self._records.existing(place), body_of(request))
        self._records.complete_network(record)
        return self._changed("patch", place, record, call)

    def change_firewall(self, kind: str, *, whole: bool) -> Handler:
        async def changed(request: Any, call: ApiCall) -> Any:
            place = self._place(request.name)
            self._allow(call, "update", place)
            before = self._records.existing(place)
            record = changed_firewall(before, body_of(request), self._records, whole=whole)
            self._allow(call, "updatePolicy", self._records.place_of(before["network"]))
            return self._changed(kind, place, record, call)

        return changed

    async def switch_to_custom_mode(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        self._allow(call, "switchToCustomMode", place)
        record = self._records.existing(place)
        if not record["autoCreateSubnetworks"]:
            raise InvalidArgument(f"The network '{record['name']}' is in custom mode already.")
        record["autoCreateSubnetworks"] = False
        return self._changed("switchToCustomMode", place, record, call)

    async def set_private_google_access(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        self._allow(call, "setPrivateIpGoogleAccess", place)
        given = checked(body_of(request), {"privateIpGoogleAccess": bool})
        record = {"privateIpGoogleAccess": False, **self._records.existing(place)} | given
        return self._changed("setPrivateIpGoogleAccess", place, record, call)

    def _changed(self, kind: str, place: str, record: Json, call: ApiCall) -> Any:
        with self._transaction():
            self._records.put(record)
            return self._done(kind, place, call, record["id"])

    # Operations and regions

    async def operation(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        self._allow(call, "get", place)
        value = self._operations.get(place)
        if value is None:
            raise NotFound(f"The resource '{self._records.full(place)[:300]}' was not found")
        return json_answer(listed([value])[0])

    async def list_operations(self, request: Any, call: ApiCall) -> Any:
        scope = self._place(request.parent)
        self._allow(call, "list", f"{scope}/operations/")
        found = listed(value for _, value in self._operations.scan(f"{scope}/operations/"))
        return self._listed(found, request, "operations", f"{scope}/operations")

    async def region(self, request: Any, call: ApiCall) -> Any:
        place = self._place(request.name)
        self._guard.require(call.caller, "compute.regions.get", self._records.full(place))
        return json_answer(self._region_record())

    async def list_regions(self, request: Any, call: ApiCall) -> Any:
        self._check_project(request.parent)
        self._guard.require(call.caller, "compute.regions.list", f"projects/{self._project}")
        return self._listed([self._region_record()], request, "regions", "regions")

    def _region_record(self) -> Json:
        place = f"regions/{self._region}"
        told = {"kind": "compute#region", "name": self._region, "status": "UP"}
        return {**told, "selfLink": self._records.link(place)}

    def _done(self, kind: str, place: str, call: ApiCall, target: str = "") -> Any:
        """Keep an operation that is done, and return it."""
        now, scope = self._records.now(), "/".join(place.split("/")[:-2])
        name = f"operation-{uuid.uuid4()}"
        own = f"{scope}/operations/{name}"
        record: Json = {
            "kind": "compute#operation",
            "id": str(uuid.uuid4().int >> 65),
            "name": name,
            "operationType": kind,
            "targetLink": self._records.link(place),
            "targetId": target or self._records.existing(place)["id"],
            "status": "DONE",
            "progress": 100,
            "user": call.caller.email,
            **dict.fromkeys(("insertTime", "startTime", "endTime"), now),
            "selfLink": self._records.link(own),
        }
        if scope != "global":
            record["region"] = self._records.link(scope)
        self._operations.put(own, kept(record))
        for key, _ in self._oldest():
            self._operations.delete(key)
        return json_answer(record)

    def _oldest(self) -> list[tuple[str, str]]:
        """Return the keys of more operations than are kept, with their times."""
        found = list(self._operations.scan())
        if len(found) <= _KEPT_OPERATIONS:
            return []
        times = [(key, listed([value])[0]["insertTime"]) for key, value in found]
        return sorted(times, key=lambda each: each[1])[:-_KEPT_OPERATIONS]

    # Names and rights

    def _place(self, name: str) -> str:
        """Return the place of a full name. Raises PermissionDenied or InvalidArgument."""
        self._check_project(name)
        _, _, place = name.split("/", 2)
        kind, _, rest = place.partition("/")
        region = rest.partition("/")[0]
        if kind == "regions" and region != self._region:
            raise InvalidArgument(
                f"Invalid value for field 'region': '{region[:60]}'. Unknown region."
            )
        return place

    def _check_project(self, name: str) -> None:
        project = name.split("/")[1]
        if project not in (self._project, self._number):
            raise wrong_project(project[:100], "compute.googleapis.com")

    def _allow(self, call: ApiCall, verb: str, place: str) -> None:
        """Raise PermissionDenied unless the caller may do this to what is, or will be, at a place."""
        *scope, plural, _ = place.split("/")
        group = plural
        if scope == ["global"] and plural in (ADDRESSES, "operations"):
            group = f"global{plural.capitalize()}"
        elif plural == "operations":
            group = "regionOperations"
        resource = self._records.full(place.removesuffix("/"))
        self._guard.require(call.caller, f"compute.{group}.{verb}", resource)

    def _listed(self, records: list[Json], request: Any, plural: str, place: str) -> Any:
        if request.order_by not in ("", "name"):
            raise Unimplemented("orderBy must be name.")
        found = {each["name"]: self._shown(each) for each in filtered(records, request.filter)}
        size, token = request.max_results, request.page_token
        names, following = page(found, size=size, token=token, most=_LARGEST_PAGE)
        answer = {
            "kind": f"compute#{_singular(plural)}List",
            "items": [found[name] for name in names],
            "selfLink": self._records.link(place),
            "nextPageToken": following,
        }
        return json_answer({key: value for key, value in answer.items() if value})


def _singular(plural: str) -> str:
    return plural.removesuffix("es") if plural == ADDRESSES else plural.removesuffix("s")


def _rpc(method: str, handle: Handler, verb: str, path: str, *, body: bool = True) -> Rpc:
    sent = "body" if body and verb in ("POST", "PATCH", "PUT") else ""
    rule = HttpRule(verb, f"/compute/v1/{path}", sent)
    name = f"google.cloud.compute.v1.{method}"
    return Rpc(name, ComputeRequest, JsonAnswer, handle, (rule,))
