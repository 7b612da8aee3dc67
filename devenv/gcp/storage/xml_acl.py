"""Access control lists by the XML API: `?acl` of buckets and objects, `?defaultObjectAcl` of buckets.

A PUT replaces a list by its document, or by the predefined one of the header `x-goog-acl`. Teams of
the project are written as groups with an id that is their entity.

See https://cloud.google.com/storage/docs/xml-api/put-bucket-acls.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from devenv.gcp.storage.acl import predefined_name
from devenv.gcp.storage.acl_api import AclMethods
from devenv.gcp.storage.buckets import Buckets, WantedLists
from devenv.gcp.storage.errors import MethodNotAllowed, UploadProblem, xml_text
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.json_api import ref_of
from devenv.gcp.storage.objects import Objects
from devenv.gcp.storage.xml_documents import XML_TYPE, parse_xml, tag_of

_PERMISSIONS = {"READ": "READER", "WRITE": "WRITER", "FULL_CONTROL": "OWNER"}
_NAMES = {role: permission for permission, role in _PERMISSIONS.items()}
# Scopes by the beginning of their entities: type, and the element with the rest of the entity.
_SCOPES = {
    "user": ("UserByEmail", "EmailAddress"),
    "group": ("GroupByEmail", "EmailAddress"),
    "domain": ("GroupByDomain", "Domain"),
    "project": ("GroupById", "ID"),
    "allUsers": ("AllUsers", ""),
    "allAuthenticatedUsers": ("AllAuthenticatedUsers", ""),
}


class XmlAcl:
    """The handlers; `methods` are those of the JSON API, whose entries they show."""

    def __init__(
        self, buckets: Buckets, objects: Objects, methods: Mapping[str, AclMethods]
    ) -> None:
        self._buckets = buckets
        self._objects = objects
        self._methods = methods

    async def handle(self, exchange: Exchange, bucket: str, name: str) -> Response:
        """Answer a request for the list of a bucket, of an object, or of new objects."""
        is_default = "acl" not in exchange.query
        match exchange.request.method:
            case "GET":
                kind = "*/o/*/acl" if name else "*/defaultObjectAcl" if is_default else "*/acl"
                names = (bucket, name) if name else (bucket,)
                return _document(self._methods[kind].read(exchange, names))
            case "PUT":
                await self._put(exchange, bucket, name, is_default=is_default)
                return Response()
        raise MethodNotAllowed("The specified method is not allowed against this resource.")

    async def _put(self, exchange: Exchange, bucket: str, name: str, *, is_default: bool) -> None:
        predefined = predefined_name(exchange.headers.get("x-goog-acl", ""))
        entries = None if predefined else _entries(await exchange.body())
        access = exchange.access
        if name:
            ref = ref_of(exchange, bucket, name)
            self._objects.patch(access, ref, {}, wanted=(entries, predefined))
        elif is_default:
            wanted = WantedLists(default_entries=entries, predefined_default=predefined)
            self._buckets.set_lists(access, bucket, wanted)
        else:
            self._buckets.set_lists(access, bucket, WantedLists(entries, predefined))


def _document(entries: Sequence[dict[str, Any]]) -> Response:
    """Return the list with these entries, as resources of the JSON API."""
    owner = next((each["entity"] for each in reversed(entries) if each["role"] == "OWNER"), "")
    items = "".join(
        f"<Entry>{_scope(each['entity'])}<Permission>{_NAMES[each['role']]}</Permission></Entry>"
        for each in entries
    )
    text = (
        "<?xml version='1.0' encoding='UTF-8'?><AccessControlList>"
        f"<Owner><ID>{xml_text(owner)}</ID></Owner><Entries>{items}</Entries></AccessControlList>"
    )
    return Response(text, media_type=XML_TYPE)


def _scope(entity: str) -> str:
    kind, element = _SCOPES[entity.partition("-")[0]]
    if not element:
        return f'<Scope type="{kind}"/>'
    text = entity if kind == "GroupById" else entity.partition("-")[2]
    return f'<Scope type="{kind}"><{element}>{xml_text(text)}</{element}></Scope>'


def _entries(body: bytes) -> list[dict[str, str]]:
    """Return the entries of a document. Raises UploadProblem."""
    root = parse_xml(body, "MalformedACLError", "The access control list is not valid XML.")
    prefixes = {kind: prefix for prefix, (kind, _) in _SCOPES.items()}
    entries = []
    for element in root.iter():
        if tag_of(element) != "Entry":
            continue
        children = {tag_of(child): child for child in element}
        scope, permission = children.get("Scope"), children.get("Permission")
        if scope is None or permission is None or scope.get("type") not in prefixes:
            raise UploadProblem(
                "MalformedACLError",
                f"An Entry needs a Permission, and a Scope of one of the types {', '.join(prefixes)}.",
            )
        prefix = prefixes[scope.get("type", "")]
        text = "".join(scope.itertext()).strip()
        entity = text if prefix == "project" else "-".join(filter(None, (prefix, text)))
        role = _PERMISSIONS.get((permission.text or "").strip(), "")
        entries.append({"entity": entity, "role": role})
    return entries
