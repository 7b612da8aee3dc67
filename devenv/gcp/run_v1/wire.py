"""Requests and answers of the v1 API as messages, and the parts that all its resources share."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf import json_format

from devenv.gcp.caller import ApiCall
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.rpc import Rpc
from devenv.gcp.rpc.json_methods import Json, body_of, json_request, texts
from devenv.gcp.rpc.rest import fill
from devenv.gcp.run_jobs.resources import Pb

Handler: TypeAlias = Callable[["V1Call"], Awaitable[Json]]
Methods: TypeAlias = Mapping[str, Rpc]
"""The methods of v2 by their names."""

OWN = "run.googleapis.com/"  # before the annotations and labels of Cloud Run itself
_STATES = {"CONDITION_SUCCEEDED": "True", "CONDITION_FAILED": "False"}
_SYSTEM = ("serving.knative.dev/", "client.knative.dev/user-image", "cloud.googleapis.com/", OWN)
_TEXTS = (
    "name",
    "parent",
    "label_selector",
    "field_selector",
    "continue",
    "propagation_policy",
    "dry_run",
)


# The fields that are taken apart here; messages of v2 check all others.
_TYPES_OF_FIELDS: Mapping[type, tuple[str, ...]] = {
    dict: (
        *("annotations", "labels", "metadata", "overrides", "secret", "secretKeyRef", "spec"),
        *("template", "valueFrom"),
    ),
    list: ("containers", "env", "items", "traffic", "volumeMounts", "volumes"),
    str: ("key", "name", "secretName"),
}
_WORDS: Mapping[type, str] = {dict: "an object", list: "a list of objects", str: "a text"}

V1Request: Any = json_request("run_v1", "V1Request", texts(*_TEXTS) | {"limit": int})


class V1Call:
    """One request of v1, and the way to the methods of v2."""

    def __init__(self, request: Any, call: ApiCall, methods: Methods, place: str) -> None:
        """Take `place` for the only location: `projects/P/locations/R`."""
        self.parameters = request
        self.caller = call.caller
        self._call = call
        self._methods = methods
        self.place = place
        self.namespace = place.split("/")[1]
        self.body = _shaped(body_of(request), "")

    @property
    def short(self) -> str:
        """The name of the resource in the request's path."""
        return str(self.parameters.name.rpartition("/")[2])

    def selected(self, label: str) -> str:
        """Return the value of a label in the selector; empty if it is not selected."""
        for part in self.parameters.label_selector.replace(" in (", "=").split(","):
            key, _, value = part.partition("=")
            if key.strip() == label:
                return str(value.strip(" =)\"'"))
        return ""

    async def ask(self, method: str, **fields: Any) -> Pb:
        """Call a method of v2 as the same caller. Raises CloudError."""
        rpc = self._methods[method]
        return await rpc.handle(rpc.request(**fields), self._call)

    async def everything(self, method: str, field: str, **fields: Any) -> list[Pb]:
        """Return all pages of a list of v2."""
        found: list[Pb] = []
        token = ""
        while True:
            answer = await self.ask(method, page_token=token, **fields)
            found += getattr(answer, field)
            token = answer.next_page_token
            if not token:
                return found

    def check_namespace(self, number: str, region: str) -> None:
        """Refuse another project or region. Raises NotFound or InvalidArgument."""
        path, query = self.parameters.name, self.parameters.parent
        if path and query:  # the path of a request fills one; the other is no parameter of Google's
            raise InvalidArgument(
                'Invalid JSON payload received. Unknown name "name": Cannot bind query parameter.'
            )
        path = path or query
        parts = path.split("/")
        host = self._call.headers.get("host", "")
        prefix, regional, _ = host.partition("-run.googleapis.com")
        wanted = parts[3] if parts[2:3] == ["locations"] else prefix if regional else region
        if parts[1] not in (self.namespace, number):
            raise NotFound(f"Project '{parts[1][:100]}' not found or deleted.")
        if wanted not in (region, "-"):
            raise NotFound(f"Location '{wanted[:100]}' is not emulated; the region is {region}.")


def _shaped(given: Json, where: str) -> Json:
    """Return a body without what is null. Raises InvalidArgument for a field of another type."""
    return {
        name: _part(name, value, f"{where}.{name}".lstrip("."))
        for name, value in given.items()
        if value is not None
    }


def _part(name: str, value: Any, where: str) -> Any:
    wanted = next((kind for kind, names in _TYPES_OF_FIELDS.items() if name in names), None)
    items = value if wanted is list and isinstance(value, list) else []
    if wanted and not (isinstance(value, wanted) and all(isinstance(each, dict) for each in items)):
        raise InvalidArgument(f"{where} is {str(value)[:100]!r}; it must be {_WORDS[wanted]}.")
    if name in ("labels", "annotations"):
        for key, text in value.items():
            if not isinstance(text, str):
                raise InvalidArgument(
                    f"{where}.{key[:100]} is {str(text)[:100]!r}; it must be a text."
                )
        return value
    if wanted is list:
        return [_shaped(each, f"{where}[{index}]") for index, each in enumerate(items)]
    return _shaped(value, where) if wanted is dict else value


def message(kind: Pb, value: Json) -> Pb:
    """Return JSON of v2 as a message. Raises InvalidArgument."""
    made = kind()
    fill(made, value)
    return made


def as_json(record: Pb) -> Json:
    """Return a message of v2 as JSON."""
    told: Json = json_format.MessageToDict(record)
    return told


def metadata(record: Pb, namespace: str, annotations: Json, **further: Any) -> Json:
    """Return the ObjectMeta of a record."""
    told = as_json(record)
    labels = dict(told.get("labels", {})) | further.pop("labels", {})
    found = {
        "name": record.name.rpartition("/")[2],
        "namespace": namespace,
        "uid": record.uid,
        "resourceVersion": str(getattr(record, "etag", "")).strip('"'),
        "generation": int(getattr(record, "generation", 1)),
        "creationTimestamp": told.get("createTime", ""),
        "labels": labels,
        "annotations": {**told.get("annotations", {}), **annotations},
        **further,
    }
    return {key: value for key, value in found.items() if value not in ("", {})}


def conditions(told: Json, *, order: tuple[str, ...] = ()) -> list[Json]:
    """Return the conditions of a record in Knative's shape, those of `order` first."""
    found = [*([told["terminalCondition"]] if "terminalCondition" in told else [])]
    found += [each for each in told.get("conditions", []) if each not in found]
    found.sort(key=lambda each: order.index(each["type"]) if each["type"] in order else 99)
    return [_condition(each) for each in found]


def _condition(told: Json) -> Json:
    reason = told.get("executionReason") or told.get("revisionReason") or told.get("reason", "")
    made = {
        "type": told["type"],
        "status": _STATES.get(told.get("state", ""), "Unknown"),
        "lastTransitionTime": told.get("lastTransitionTime", ""),
        "message": told.get("message", ""),
        "reason": "".join(word.capitalize() for word in reason.split("_")),
    }
    return {key: value for key, value in made.items() if value}


def own_annotations(given: Json) -> Json:
    """Return the annotations that a caller set for itself, without those of the system."""
    return {key: value for key, value in given.items() if not key.startswith(_SYSTEM)}


def own_labels(given: Json) -> Json:
    """Return the labels that a caller set, without those that the system adds to each answer."""
    return {k: v for k, v in given.items() if not k.startswith(("cloud.googleapis.com/", OWN))}


def etag(meta: Json) -> str:
    """Return the version of a resource that a caller has read, empty if it does not say."""
    version = str(meta.get("resourceVersion", ""))
    return f'"{version}"' if version else ""


def number(value: Any, where: str) -> int:
    """Return an annotation's number. Raises InvalidArgument."""
    if not str(value).isdecimal():
        raise InvalidArgument(f"{where} is {str(value)[:100]!r}; it must be a whole number.")
    return int(value)


def listed(kind: str, version: str, items: list[Json]) -> Json:
    return {"apiVersion": version, "kind": f"{kind}List", "metadata": {}, "items": items}


def json_list(text: str, where: str, *, of: type = str) -> list[Any]:
    """Return an annotation that holds a JSON list, of texts or of objects. Raises InvalidArgument."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, of) for each in found):
        raise InvalidArgument(f"{where} is {text[:100]!r}; it must be a JSON list.")
    return found
