"""Uploads by HTML forms, whose policy document says what the form may send.

The policy is JSON with an expiry and conditions, which the form holds in base64 with a signature over
it. Each field of the form must meet the conditions, and must be named by one, except the signature,
the file and fields that begin with `x-ignore-`. The rights of the account that signed decide. A form
without a policy is one of nobody, or of the token that comes with it.

See https://cloud.google.com/storage/docs/xml-api/post-object-forms and
https://cloud.google.com/storage/docs/authentication/signatures#policy-document.
"""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from starlette.responses import Response

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.journal import note_caller
from devenv.gcp.storage.acl import predefined_name
from devenv.gcp.storage.drafts import ObjectDraft
from devenv.gcp.storage.errors import (
    ExpiredToken,
    UploadProblem,
    xml_text,
)
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.fields import object_fields
from devenv.gcp.storage.media import Media, limited
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.multipart import FormBody
from devenv.gcp.storage.parameters import Preconditions, number
from devenv.gcp.storage.resources import fields_of_headers, sums_of_headers
from devenv.gcp.storage.signed import Signatures
from devenv.gcp.storage.xml_documents import XML_TYPE

_UNCHECKED = ("bucket", "policy", "signature", "x-goog-signature", "googleaccessid")
_IGNORED = "x-ignore-"
_RANGE = "content-length-range"
_UNBOUNDED = 2**63 - 1
_STATUSES = ("200", "201", "204")


@dataclass(frozen=True, slots=True)
class PostPolicy:
    """A policy document: when it ends, in Unix seconds, and what fields and file must be.

    `conditions` are (operator, field, value), where the operator is `eq` or `starts-with`.
    """

    expires: float
    conditions: tuple[tuple[str, str, str], ...]
    sizes: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def parse(cls, document: str) -> "PostPolicy":
        """Return the policy in the base64 of a form. Raises UploadProblem."""
        try:
            value = json.loads(base64.b64decode(document, validate=True))
            moment = dt.datetime.fromisoformat(value["expiration"])
            expires = moment.replace(tzinfo=moment.tzinfo or dt.UTC).timestamp()
            read = [each for condition in value["conditions"] for each in _conditions(condition)]
        except (
            *(binascii.Error, ValueError, KeyError, TypeError, AttributeError),
            *(OverflowError, RecursionError, InvalidArgument),
        ) as error:
            raise UploadProblem(
                "InvalidPolicyDocument",
                "The policy must be the base64 of JSON with an expiration and a list of conditions.",
            ) from error
        texts = tuple((op, name, str(each)) for op, name, each in read if op != _RANGE)
        return cls(expires, texts, [each for op, _, each in read if op == _RANGE])

    def check(self, fields: Mapping[str, str]) -> None:
        """Raise UploadProblem for a field that breaks a condition, or that none names."""
        for operator, name, wanted in self.conditions:
            found = fields.get(name, "")
            if found != wanted if operator == "eq" else not found.startswith(wanted):
                raise _unmet(f"The field '{name}' is {found[:100]!r}; {operator} {wanted[:100]!r}.")
        named = {name for _, name, _ in self.conditions}
        for name in fields:
            if name not in named and name not in _UNCHECKED and not name.startswith(_IGNORED):
                raise _unmet(f"No condition names the field '{name[:100]}'.")


def _conditions(condition: Any) -> Iterable[tuple[str, str, Any]]:
    """Yield the conditions in one member of the list. Raises ValueError or InvalidArgument."""
    if isinstance(condition, dict):
        return [("eq", str(name).lower(), value) for name, value in condition.items()]
    operator, first, second = condition
    if operator == _RANGE:
        return [(operator, "", (number(first, operator), number(second, operator)))]
    if operator not in ("eq", "starts-with") or not first.startswith("$"):
        raise ValueError(operator)
    return [(operator, first.removeprefix("$").lower(), second)]


def _unmet(reason: str) -> UploadProblem:
    return UploadProblem(
        "InvalidPolicyDocument",
        "The content of the form does not meet the conditions specified in the policy document. "
        f"{reason}",
    )


class XmlForms:
    """The handler of `POST /bucket` with a form."""

    def __init__(self, media: Media, signatures: Signatures, clock: Clock) -> None:
        self._media = media
        self._signatures = signatures
        self._clock = clock

    async def post(self, exchange: Exchange, bucket: str) -> Response:
        """Store the file of a form."""
        body = FormBody(exchange.headers.get("content-type", ""), exchange.stream())
        fields = await body.fields()
        if "key" not in fields:
            raise InvalidArgument("Bucket POST must contain a field named 'key'.")
        fields["key"] = fields["key"].replace("${filename}", body.filename)
        sizes: list[tuple[int, int]] = []
        if "policy" in fields:
            policy = PostPolicy.parse(fields["policy"])
            caller = ApiCaller(self._signer(fields))
            note_caller(caller.email)
            if self._clock.now() >= self._clock.at(policy.expires):
                raise ExpiredToken("The provided token has expired.")
            policy.check({**fields, "bucket": bucket})
            exchange = replace(exchange, access=replace(exchange.access, caller=caller))
            sizes = policy.sizes
        least = max((low for low, _ in sizes), default=0)
        most = min((high for _, high in sizes), default=_UNBOUNDED)
        draft = _draft(bucket, fields, body.content_type)
        stored = await self._media.store(exchange, draft, limited(body.media(), least, most))
        return _answer(exchange, fields, stored)

    def _signer(self, fields: Mapping[str, str]) -> str:
        """Return the account that signed the policy. Raises CloudError if none did."""
        payload = fields["policy"].encode("utf-8", "replace")
        if email := fields.get("googleaccessid"):
            return self._signatures.signer_v2(email, payload, fields.get("signature", ""))
        return self._signatures.signer(
            fields.get("x-goog-algorithm", ""),
            fields.get("x-goog-credential", ""),
            fields.get("x-goog-date", ""),
            payload=payload,
            signature=fields.get("x-goog-signature", ""),
        )


def _draft(bucket: str, fields: Mapping[str, str], content_type: str) -> ObjectDraft:
    """Return the object of a form; a field for its type goes before that of the file."""
    headers = {"content-type": content_type, **fields}
    settings = object_fields(fields_of_headers(headers))
    return ObjectDraft(
        bucket,
        fields["key"],
        settings,
        Preconditions(),
        predefined=predefined_name(fields.get("acl", "")),
        **sums_of_headers(headers),
    )


def _answer(exchange: Exchange, fields: Mapping[str, str], item: ObjectRecord) -> Response:
    """Answer as the form asks: with a redirect, a document, or nothing."""
    place = f"{exchange.shapes.base}/{item.bucket}/{quote(item.name)}"
    headers = {"etag": f'"{item.etag}"', "location": place}
    target = fields.get("success_action_redirect", "")
    if urlsplit(target).scheme in ("http", "https"):
        query = urlencode({"bucket": item.bucket, "key": item.name, "etag": f'"{item.etag}"'})
        address = f"{target}{'&' if urlsplit(target).query else '?'}{query}"
        return Response(status_code=303, headers=headers | {"location": address})
    wanted = fields.get("success_action_status", "204")
    if wanted != "201":
        return Response(status_code=int(wanted) if wanted in _STATUSES else 204, headers=headers)
    text = (
        "<?xml version='1.0' encoding='UTF-8'?><PostResponse>"
        f"<Location>{xml_text(place)}</Location><Bucket>{xml_text(item.bucket)}</Bucket>"
        f"<Key>{xml_text(item.name)}</Key><ETag>&quot;{item.etag}&quot;</ETag></PostResponse>"
    )
    return Response(text, status_code=201, headers=headers, media_type=XML_TYPE)
