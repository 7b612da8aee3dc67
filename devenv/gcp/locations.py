"""google.cloud.location.Locations: the one region of the emulated project, for every service."""

from typing import Any

from google.cloud.location import locations_pb2

from devenv.gcp.caller import ApiCall
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import NotFound, Unimplemented
from devenv.gcp.rpc import HttpRule, Rpc


def location_rpcs(config: CloudConfig) -> tuple[Rpc, ...]:
    """Return ListLocations and GetLocation. Any authenticated caller may call them."""

    def location() -> Any:
        return locations_pb2.Location(
            name=f"projects/{config.project}/locations/{config.region}",
            location_id=config.region,
            labels={"cloud.googleapis.com/region": config.region},
        )

    def check(name: str, wanted: str) -> None:
        known = {f"projects/{project}{wanted}" for project in (config.project, config.number)}
        if name not in known:
            raise NotFound(f"Resource '{name[:200]}' was not found.")

    async def list_all(request: Any, _call: ApiCall) -> Any:
        check(request.name, "")
        if request.filter:
            raise Unimplemented("filter is not emulated.")
        return locations_pb2.ListLocationsResponse(locations=[location()])

    async def get(request: Any, _call: ApiCall) -> Any:
        check(request.name, f"/locations/{config.region}")
        return location()

    service, of = "google.cloud.location.Locations", locations_pb2
    rules = [
        (f"/{version}/{{name=projects/*}}/locations", f"/{version}/{{name=projects/*/locations/*}}")
        for version in ("v2", "v1", "v1beta2")
    ]
    lists = tuple(HttpRule("GET", one) for one, _ in rules)
    gets = tuple(HttpRule("GET", one) for _, one in rules)
    return (
        Rpc(
            f"{service}/ListLocations",
            of.ListLocationsRequest,
            of.ListLocationsResponse,
            list_all,
            lists,
        ),
        Rpc(f"{service}/GetLocation", of.GetLocationRequest, of.Location, get, gets),
    )
