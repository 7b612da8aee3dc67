"""Upper bound of the number of times that a JSON Schema looks at one value of a document.

Alternatives that refer to common schemas multiply: twenty definitions that use the one before twice
look at a value a million times, and so does a recursive schema with two ways into each child at a
depth of twenty. Validators have no limit of their own.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema
from jsonschema_specifications import REGISTRY as SPECIFICATIONS
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from validibot.engines.json_documents import Schemas
from validibot.engines.json_text import MAX_DEPTH

# More is too expensive for any document.
LIMIT = 1e9
# Schemas that are reached by references; a larger graph counts as too expensive.
_MAX_NODES = 50_000
# Names of children that are merged for one level; more counts as too expensive.
_MAX_WORK = 1_000_000
# A pattern with look-around or back-references takes up to 100,000 steps.
_SLOW_PATTERN = 1000
_SLOW_MARKS = ("(?=", "(?!", "(?<", "\\1", "\\k")
_LISTS_HERE = ("allOf", "anyOf", "oneOf")
_SCHEMAS_HERE = ("not", "if", "then", "else")
_MAPS_HERE = ("dependentSchemas", "dependencies")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_CHILDREN = (
    "items",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
)


class _Node(NamedTuple):
    """A schema: its own cost, the schemas of the same value, and those of its children.

    Schemas of children are grouped by the name of the child; the group "" is for every child.
    """

    cost: int
    here: Sequence[int]
    children: Mapping[str, Sequence[int]]


def evaluations(schemas: Schemas) -> Sequence[float]:
    """Return the bound for values at each depth of a document; the last one holds for all deeper."""
    graph = _Graph(schemas)
    if graph.too_large:
        return [LIMIT]
    order = _in_order(graph.nodes)
    bounds = [0.0]
    # How often a value is looked at that is `depth` levels below the value of each schema.
    visits = _own(graph.nodes, order)
    for _ in range(MAX_DEPTH):
        bounds.append(max(bounds[-1], visits[0]))
        following = _one_deeper(graph.nodes, order, visits)
        if bounds[-1] >= LIMIT or following in (None, visits):
            break
        visits = following
    return [LIMIT] if following is None else bounds[1:]


def _own(nodes: Sequence[_Node], order: Sequence[int]) -> list[float]:
    """Return how often each schema and those of the same value look at it."""
    visits = [float(node.cost) for node in nodes]
    for number in order:
        here = sum(visits[target] for target in nodes[number].here)
        visits[number] = min(visits[number] + here, LIMIT)
    return visits


def _one_deeper(
    nodes: Sequence[_Node], order: Sequence[int], visits: Sequence[float]
) -> list[float] | None:
    """Return the visits of values one level further down, or None if that takes too long.

    A child has one name, so the most expensive name counts, with the schemas of every child.
    """
    by_name: list[dict[str, float]] = [{} for _ in nodes]
    work = 0
    for number in order:
        node, mine = nodes[number], by_name[number]
        for name, targets in node.children.items():
            mine[name] = sum(visits[target] for target in targets)
        for target in node.here:
            work += len(by_name[target])
            for name, count in by_name[target].items():
                mine[name] = min(mine.get(name, 0.0) + count, LIMIT)
        if work > _MAX_WORK:
            return None
    return [min(max(names.values(), default=0.0) + names.get("", 0.0), LIMIT) for names in by_name]


def _in_order(nodes: Sequence[_Node]) -> list[int]:
    """Return the schemas, each after those of the same value that it leads to."""
    seen: set[int] = set()
    done: list[int] = []
    for first in range(len(nodes)):
        stack = [] if first in seen else [(first, iter(nodes[first].here))]
        seen.add(first)
        while stack:
            _, targets = stack[-1]
            target = next((each for each in targets if each not in seen), None)
            if target is None:
                done.append(stack.pop()[0])
            else:
                seen.add(target)
                stack.append((target, iter(nodes[target].here)))
    return done


class _Graph:
    """The schemas that the main schema can reach; the first node is the main schema."""

    def __init__(self, schemas: Schemas) -> None:
        self.nodes: list[_Node] = []
        self._numbers: dict[int, int] = {}
        self._pending: list[tuple[Any, Any]] = []
        main = json.loads(schemas.main)
        kind = jsonschema.validators.validator_for(main, default=jsonschema.Draft202012Validator)
        self._specification = specification_with(kind.META_SCHEMA["$schema"])
        resources = [
            (uri, self._specification.create_resource(contents))
            for uri, contents in schemas.resources()
        ]
        root = self._specification.create_resource(main)
        registry = SPECIFICATIONS.with_resources(resources)
        self._number(main, registry.resolver_with_root(root))
        while len(self.nodes) < len(self._pending) and not self.too_large:
            self._read(*self._pending[len(self.nodes)])

    @property
    def too_large(self) -> bool:
        return len(self._pending) > _MAX_NODES

    def _number(self, schema: Any, resolver: Any) -> int:
        """Return the number of a schema; `_pending` keeps it alive, so that its id stays its own."""
        number = self._numbers.setdefault(id(schema), len(self._pending))
        if number == len(self._pending):
            if isinstance(schema, dict) and isinstance(schema.get("$id"), str):
                resource = self._specification.create_resource(schema)
                resolver = resolver.in_subresource(resource)
            self._pending.append((schema, resolver))
        return number

    def _read(self, schema: Any, resolver: Any) -> None:
        if not isinstance(schema, dict):
            self.nodes.append(_Node(1, (), {}))
            return
        here = [self._number(each, resolver) for each in _here(schema)]
        for keyword in _REFERENCES:
            if isinstance(reference := schema.get(keyword), str):
                here += self._resolve(reference, resolver)
        children = {
            name: [self._number(each, resolver) for each in group]
            for name, group in _named(schema).items()
        }
        self.nodes.append(_Node(1 + _pattern_cost(schema), here, children))

    def _resolve(self, reference: str, resolver: Any) -> list[int]:
        try:
            resolved = resolver.lookup(reference)
        except Unresolvable:
            return []
        return [self._number(resolved.contents, resolved.resolver)]


def _here(schema: Mapping[str, Any]) -> Iterator[Any]:
    for keyword in _LISTS_HERE:
        if isinstance(group := schema.get(keyword), list):
            yield from group
    yield from (schema[keyword] for keyword in _SCHEMAS_HERE if keyword in schema)
    for keyword in _MAPS_HERE:
        if isinstance(group := schema.get(keyword), dict):
            yield from (each for each in group.values() if not isinstance(each, list))


def _named(schema: Mapping[str, Any]) -> dict[str, list[Any]]:
    named: dict[str, list[Any]] = {}
    if isinstance(properties := schema.get("properties"), dict):
        named |= {f".{name}": [each] for name, each in properties.items()}
    for keyword in ("prefixItems", "items"):
        if isinstance(group := schema.get(keyword), list):
            named |= {f"[{number}": [each] for number, each in enumerate(group)}
    every = [schema[name] for name in _CHILDREN if isinstance(schema.get(name), dict | bool)]
    if isinstance(patterns := schema.get("patternProperties"), dict):
        every += patterns.values()
    return {**named, "": every} if every else named


def _pattern_cost(schema: Mapping[str, Any]) -> int:
    patterns = [schema.get("pattern"), *(schema.get("patternProperties") or ())]
    texts = [each for each in patterns if isinstance(each, str)]
    slow = sum(any(mark in each for mark in _SLOW_MARKS) for each in texts)
    return len(texts) + _SLOW_PATTERN * slow
