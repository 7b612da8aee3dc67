"""Buckets by the XML API: creation, deletion, and the settings that are subresources.

A bucket's `location`, `versioning`, `lifecycle`, `cors` and `storageClass` are documents of Google's own
shape, which stand for the settings of the JSON API; `tagging` has its labels as tags. S3's shape of
lifecycle and CORS rules is refused, as on Google.

See https://cloud.google.com/storage/docs/xml-api/put-bucket-create,
https://cloud.google.com/storage/docs/xml-api/put-bucket-lifecycle and
https://cloud.google.com/storage/docs/xml-api/put-bucket-cors.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from xml.etree import ElementTree as ET

from starlette.responses import Response

from devenv.gcp.storage.acl import predefined_name
from devenv.gcp.storage.buckets import Buckets, WantedLists
from devenv.gcp.storage.errors import MethodNotAllowed, NotEmulated, UploadProblem, xml_text
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.model import BucketRecord
from devenv.gcp.storage.parameters import number
from devenv.gcp.storage.xml_documents import XML_TYPE, parse_xml, tag_of

_T = TypeVar("_T")
SETTINGS = ("cors", "lifecycle", "location", "storageClass", "tagging", "versioning")
_ANY = (None, None)
# Elements of conditions by their names in the JSON API; those in _REPEATED are lists there.
_CONDITIONS = {
    "Age": "age",
    "CreatedBefore": "createdBefore",
    "CustomTimeBefore": "customTimeBefore",
    "DaysSinceCustomTime": "daysSinceCustomTime",
    "DaysSinceNoncurrentTime": "daysSinceNoncurrentTime",
    "IsLive": "isLive",
    "MatchesPrefix": "matchesPrefix",
    "MatchesStorageClass": "matchesStorageClass",
    "MatchesSuffix": "matchesSuffix",
    "NoncurrentTimeBefore": "noncurrentTimeBefore",
    "NumberOfNewerVersions": "numNewerVersions",
}
_REPEATED = ("MatchesPrefix", "MatchesStorageClass", "MatchesSuffix")
_NUMBERS = ("Age", "DaysSinceCustomTime", "DaysSinceNoncurrentTime", "NumberOfNewerVersions")
_CORS_LISTS = {
    "Origins": ("Origin", "origin"),
    "Methods": ("Method", "method"),
    "ResponseHeaders": ("ResponseHeader", "responseHeader"),
}


class XmlBuckets:
    """The handlers of one bucket, except lists of its objects."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    async def handle(self, exchange: Exchange, bucket: str) -> Response:
        """Create or delete a bucket, or read or change a setting. Raises MethodNotAllowed."""
        setting = next((name for name in SETTINGS if name in exchange.query), "")
        match exchange.request.method, setting:
            case "PUT", "":
                return await self._create(exchange, bucket)
            case "DELETE", "" | "lifecycle" | "tagging":
                self._delete(exchange, bucket, setting)
                return Response(status_code=204)
            case "GET", str() if setting:
                found = self._buckets.get(exchange.access, bucket)
                return Response(
                    _document(setting, found, exchange.shapes.region), media_type=XML_TYPE
                )
            case "PUT", str() if setting in _READERS:
                value = _READERS[setting](parse_xml(await exchange.body()))
                if setting == "tagging":
                    self._set_labels(exchange, bucket, value)
                else:
                    self._change(exchange, bucket, {setting: value})
                return Response()
        raise MethodNotAllowed("The specified method is not allowed against this resource.")

    def _delete(self, exchange: Exchange, bucket: str, setting: str) -> None:
        """Delete a setting, or without one the bucket."""
        match setting:
            case "":
                self._buckets.delete(exchange.access, bucket, _ANY)
            case "tagging":
                self._set_labels(exchange, bucket, {})
            case _:
                self._change(exchange, bucket, {setting: None})

    def _set_labels(self, exchange: Exchange, bucket: str, labels: Mapping[str, str]) -> None:
        """Replace the labels of a bucket."""
        exchange.access.require("storage.buckets.update", bucket)
        before = dict.fromkeys(self._buckets.find(bucket).fields.get("labels", {}))
        self._change(exchange, bucket, {"labels": {**before, **labels}})

    async def _create(self, exchange: Exchange, bucket: str) -> Response:
        resource: dict[str, Any] = {"name": bucket}
        if body := await exchange.body():
            root = parse_xml(body)
            names = {"LocationConstraint": "location", "StorageClass": "storageClass"}
            for element in root:
                resource[_known(names, element, "CreateBucketConfiguration")] = _text(element)
        if storage_class := exchange.headers.get("x-goog-storage-class"):
            resource["storageClass"] = storage_class
        wanted = WantedLists(predefined=predefined_name(exchange.headers.get("x-goog-acl", "")))
        self._buckets.create(exchange.access, resource, wanted)
        return Response(headers={"location": f"/{bucket}"})

    def _change(self, exchange: Exchange, bucket: str, patch: Mapping[str, Any]) -> None:
        self._buckets.update(exchange.access, bucket, patch, whole=False, metageneration=_ANY)


def _document(setting: str, bucket: BucketRecord, region: str) -> str:
    """Return a setting of a bucket as a document; `region` is where a bucket without location is."""
    value = bucket.fields.get(setting, {})
    match setting:
        case "location":
            inner = _element("LocationConstraint", xml_text(bucket.location or region.upper()))
        case "versioning":
            status = "Enabled" if bucket.versioned else "Suspended"
            shown = _element("Status", status) if value else ""
            inner = _element("VersioningConfiguration", shown)
        case "storageClass":
            inner = _element("StorageClass", bucket.storage_class)
        case "tagging":
            labels = bucket.fields.get("labels", {}).items()
            tags = (
                _element("Key", xml_text(k)) + _element("Value", xml_text(v)) for k, v in labels
            )
            inner = _element("TagSet", "".join(_element("Tag", tag) for tag in tags))
            inner = _element("Tagging", inner)
        case "cors":
            inner = _element("CorsConfig", "".join(_cors_rule(rule) for rule in value))
        case _:
            rules = "".join(_lifecycle_rule(rule) for rule in value.get("rule", ()))
            inner = _element("LifecycleConfiguration", rules)
    return f"<?xml version='1.0' encoding='UTF-8'?>{inner}"


def _cors_rule(rule: Mapping[str, Any]) -> str:
    parts = []
    for name, (member, key) in _CORS_LISTS.items():
        texts = (_element(member, xml_text(text)) for text in rule.get(key, ()))
        parts.append(_element(name, "".join(texts)))
    if "maxAgeSeconds" in rule:
        parts.append(_element("MaxAgeSec", str(rule["maxAgeSeconds"])))
    return _element("Cors", "".join(parts))


def _lifecycle_rule(rule: Mapping[str, Any]) -> str:
    action, found = rule["action"], rule["condition"]
    action_text = _element(action["type"], xml_text(action.get("storageClass", "")))
    conditions = []
    for name, key in _CONDITIONS.items():
        values = found.get(key, ()) if name in _REPEATED else [found[key]] if key in found else ()
        texts = (str(each).lower() if isinstance(each, bool) else str(each) for each in values)
        conditions += [_element(name, xml_text(text)) for text in texts]
    inner = _element("Action", action_text) + _element("Condition", "".join(conditions))
    return _element("Rule", inner)


def _read_versioning(root: ET.Element) -> dict[str, bool]:
    statuses = [_text(element) for element in root if tag_of(element) == "Status"]
    if statuses not in (["Enabled"], ["Suspended"]):
        raise UploadProblem(
            "MalformedVersioningConfiguration", "Status must be Enabled or Suspended."
        )
    return {"enabled": statuses == ["Enabled"]}


def _read_storage_class(root: ET.Element) -> str:
    _known({"StorageClass": ""}, root, "the document")
    return _text(root)


def _read_labels(root: ET.Element) -> dict[str, str]:
    labels: dict[str, str] = {}
    for tag in (tag for tags in _only(root, "TagSet") for tag in _only(tags, "Tag")):
        parts = {tag_of(element): _text(element) for element in tag}
        if parts.keys() != {"Key", "Value"} or parts["Key"] in labels:
            raise UploadProblem("InvalidTag", "Each Tag needs a Key of its own, and a Value.")
        labels[parts["Key"]] = parts["Value"]
    return labels


def _read_cors(root: ET.Element) -> list[dict[str, Any]]:
    return [_cors_of(rule) for rule in _only(root, "Cors")]


def _cors_of(rule: ET.Element) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for element in rule:
        if tag_of(element) == "MaxAgeSec":
            fields["maxAgeSeconds"] = number(_text(element), "MaxAgeSec")
            continue
        member, key = _known(_CORS_LISTS, element, "Cors")
        fields[key] = [_text(each) for each in _only(element, member)]
    return fields


def _read_lifecycle(root: ET.Element) -> dict[str, Any]:
    return {"rule": [_lifecycle_of(rule) for rule in _only(root, "Rule")]}


def _lifecycle_of(rule: ET.Element) -> dict[str, Any]:
    action: dict[str, Any] = {}
    condition: dict[str, Any] = {}
    for part in rule:
        kind = _known({"Action": action, "Condition": condition}, part, "Rule")
        for element in part:
            if kind is action:
                action["type"] = tag_of(element)
                action |= {"storageClass": _text(element)} if _text(element) else {}
                continue
            name, text = tag_of(element), _text(element)
            key = _known(_CONDITIONS, element, "Condition")
            if name in _REPEATED:
                condition.setdefault(key, []).append(text)
            else:
                condition[key] = _value(name, text)
    return {"action": action, "condition": condition}


def _value(name: str, text: str) -> object:
    if name in _NUMBERS:
        return number(text, name)
    return text == "true" if name == "IsLive" and text in ("true", "false") else text


_READERS: Mapping[str, Callable[[ET.Element], Any]] = {
    "cors": _read_cors,
    "lifecycle": _read_lifecycle,
    "storageClass": _read_storage_class,
    "tagging": _read_labels,
    "versioning": _read_versioning,
}


def _only(parent: ET.Element, name: str) -> Iterator[ET.Element]:
    """Yield the elements of `parent`, which must all have one name. Raises NotEmulated."""
    for element in parent:
        _known({name: name}, element, tag_of(parent))
        yield element


def _known(names: Mapping[str, _T], element: ET.Element, where: str) -> _T:
    """Return what an element's name stands for. Raises NotEmulated."""
    name = tag_of(element)
    if name not in names:
        raise NotEmulated(f"The element '{name[:100]}' in {where}")
    return names[name]


def _text(element: ET.Element) -> str:
    return (element.text or "").strip()


def _element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"
