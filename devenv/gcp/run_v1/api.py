"""The REST methods of the v1 API as the server wires them.

gcloud asks the host of a region for the resources of a namespace, which is a project; where it wants
all regions it asks `run.googleapis.com` for those of a project's locations.
"""

from collections.abc import Iterable, Iterator

from devenv.gcp.caller import ApiCall
from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc import Handler as RpcHandler, HttpRule, Rpc
from devenv.gcp.rpc.json_methods import JsonAnswer, json_answer
from devenv.gcp.run_jobs.resources import Pb
from devenv.gcp.run_v1 import domains, jobs, services
from devenv.gcp.run_v1.domains import DomainMappings
from devenv.gcp.run_v1.wire import Handler, V1Call, V1Request

_VERBS = {
    "create": "POST",
    "get": "GET",
    "list": "GET",
    "replace": "PUT",
    "delete": "DELETE",
    "run": "POST",
    "cancel": "POST",
}
_CUSTOM = ("run", "cancel")


class RunV1Api:
    """`methods` are those of Cloud Run's v2 API, which do the work; only v1 has `mappings`."""

    def __init__(
        self, config: CloudConfig, methods: Iterable[Rpc], mappings: DomainMappings
    ) -> None:
        self._config = config
        self._mappings = mappings
        self._methods = {rpc.method.rpartition("/")[2]: rpc for rpc in methods}
        self._place = f"projects/{config.project}/locations/{config.region}"

    def rpcs(self) -> Iterator[Rpc]:
        for methods, version in (
            (services.methods(), services.VERSION),
            (jobs.methods(), jobs.VERSION),
            (self._mappings.methods(), domains.VERSION),
        ):
            for (collection, name), handle in methods.items():
                rules = _rules(version, collection, name)
                method = f"google.cloud.run.v1.{collection.capitalize()}/{name}"
                yield Rpc(method, V1Request, JsonAnswer, self._handler(handle), rules)

    def _handler(self, handle: Handler) -> RpcHandler:
        async def answered(request: Pb, call: ApiCall) -> Pb:
            asked = V1Call(request, call, self._methods, self._place)
            asked.check_namespace(self._config.number, self._config.region)
            return json_answer(await handle(asked))

        return answered


def _rules(version: str, collection: str, name: str) -> tuple[HttpRule, ...]:
    """Return the HTTP rules of a method; lists of all but jobs are there for all locations too."""
    verb, is_collection = _VERBS[name], name in ("create", "list")
    body = "body" if verb in ("POST", "PUT") else ""
    path = f"namespaces/*/{collection}/*"
    custom = f":{name}" if name in _CUSTOM else ""
    place = f"{{parent=namespaces/*}}/{collection}" if is_collection else f"{{name={path}}}{custom}"
    rules = [HttpRule(verb, f"/apis/{version}/{place}", body)]
    if name == "list" and version != jobs.VERSION:
        rules.append(HttpRule(verb, f"/v1/{{parent=projects/*/locations/*}}/{collection}"))
    if collection == "authorizeddomains":
        rules.append(HttpRule(verb, f"/v1/{{parent=projects/*}}/{collection}"))
    return tuple(rules)
