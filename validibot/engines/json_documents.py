"""Schemas of a JSON Schema step: the main one, and further documents that `$ref` can name.

A reference names a document by its name, resolved against the base of the schema with the
reference, or by its `$id`. Besides these only the metaschemas of the drafts are known.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urljoin

import jsonschema_rs
from jsonschema_specifications import REGISTRY as SPECIFICATIONS

from validibot.core.echo import echo
from validibot.engines.base import EngineError

MAX_SCHEMA_CHARACTERS = 1024 * 1024
MAX_DOCUMENTS = 100
# jsonschema-rs resolves references of a schema without `$id` against this.
_BASE = "json-schema:///"
# Steps that a pattern with look-around may take; all other patterns run in linear time.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
_UNKNOWN_RESOURCE = re.compile(r"Resource '([^']+)' is not present in a registry")
_OLD_DRAFTS = ("draft-00", "draft-01", "draft-02", "draft-03")


class Schemas(NamedTuple):
    """The texts of the main schema and of the documents beside it, by name."""

    main: str
    documents: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        return len(self.main) + sum(len(text) for _, text in self.documents)

    def resources(self) -> Iterator[tuple[str, Any]]:
        """Yield every document with each relative URI that a reference to it can have."""
        main = json.loads(self.main)
        base = main.get("$id", main.get("id", "")) if isinstance(main, dict) else ""
        for name, text in self.documents:
            contents = json.loads(text)
            yield name, contents
            if isinstance(base, str) and base:
                yield urljoin(base, name), contents


def read_schemas(config: Mapping[str, Any]) -> Schemas:
    """Return the schemas of a step's settings. Raises EngineError."""
    schema = config.get("schema")
    if schema is None:
        raise EngineError("The step has no schema: set `schema` in its configuration.")
    documents = config.get("documents") or {}
    if len(documents) > MAX_DOCUMENTS:
        raise EngineError(f"`documents` has {len(documents)} schemas; at most {MAX_DOCUMENTS}.")
    schemas = Schemas(_text(schema), tuple((name, _text(each)) for name, each in documents.items()))
    if schemas.size > MAX_SCHEMA_CHARACTERS:
        raise EngineError(f"The schema has more than {MAX_SCHEMA_CHARACTERS} characters.")
    return schemas


def _text(schema: Any) -> str:
    return schema if isinstance(schema, str) else json.dumps(schema)


def compile_schemas(schemas: Schemas, formats: bool | None) -> jsonschema_rs.Validator:
    """Return a validator for the main schema. Raises EngineError for a fault in any document."""
    for name, text in schemas.documents:
        _check_document(name, text)
    main = _parsed(schemas.main, "The schema")
    missing: list[str] = []
    try:
        return jsonschema_rs.validator_for(
            main,
            validate_formats=formats,
            registry=_registry(schemas, missing),
            pattern_options=_PATTERNS,
        )
    except (ValueError, RecursionError) as error:  # a ValidationError is a ValueError
        # The retriever is not asked for a metaschema.
        if unknown := _UNKNOWN_RESOURCE.search(str(error)):
            missing.append(unknown[1])
        if missing:
            reason = _missing(missing[-1], schemas)
        elif isinstance(error, jsonschema_rs.ValidationError):
            where = pointer(error.instance_path) or "its root"
            reason = f"The schema is invalid at {where}: {error.message}"
        else:
            reason = f"The schema cannot be read: {error}"
        raise EngineError(reason) from None


def pointer(path: Any) -> str:
    """Return a path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _registry(schemas: Schemas, missing: list[str]) -> jsonschema_rs.Registry:
    if not schemas.documents:
        known = _specifications()
    else:
        known = [(urljoin(_BASE, uri), contents) for uri, contents in schemas.resources()]
        known += _specifications()

    def retrieve(uri: str) -> NoReturn:
        missing.append(uri)
        raise ValueError("it is not among the documents")

    return jsonschema_rs.Registry(known, retriever=retrieve)


@cache
def _specifications() -> list[tuple[str, Any]]:
    """Return the metaschemas of the supported drafts."""
    return [
        (uri, resource.contents) for uri, resource in SPECIFICATIONS.items() if not _is_old(uri)
    ]


def _is_old(uri: str) -> bool:
    return any(old in uri for old in _OLD_DRAFTS)


def _check_document(name: str, text: str) -> None:
    contents = _parsed(text, f"The document {echo(name)}")
    try:
        jsonschema_rs.meta.validate(contents)
    except jsonschema_rs.ValidationError as error:
        where = pointer(error.instance_path) or "its root"
        raise EngineError(
            f"The document {echo(name)} is an invalid schema at {where}: {error.message}"
        ) from None
    except (ValueError, RecursionError):
        # Its metaschema is not one of the drafts; compiling the main schema decides.
        return


def _parsed(text: str, title: str) -> Any:
    try:
        contents = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"{title} cannot be read: {error}") from None
    draft = contents.get("$schema") if isinstance(contents, dict) else None
    if isinstance(draft, str) and _is_old(draft):
        raise EngineError(f"{title} names {echo(draft)}; drafts 4 to 2020-12 are supported.")
    return contents


def _missing(uri: str, schemas: Schemas) -> str:
    if _is_old(uri):
        return f"The schema refers to {echo(uri)}; drafts 4 to 2020-12 are supported."
    known = ", ".join(repr(name) for name, _ in schemas.documents) or "none"
    return (
        f"The schema refers to {echo(uri.removeprefix(_BASE), most=200)}, which is not given. Add it to"
        f" `documents` by that name; the documents of the step are: {known}."
    )
