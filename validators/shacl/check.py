"""Child program that checks RDF data with SHACL: `check.py FOLDER FORMAT`.

Reads `data`, `shapes.ttl` and perhaps `ontology.ttl`, and `options.json`; writes `answer.json` and
`report.ttl`. It opens no address: imports are not followed, and contexts of JSON-LD that are elsewhere
are refused.
"""

import json
import socket
import sys
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pyshacl
from rdflib import BNode, Graph, Literal, URIRef
from rdflib.namespace import RDF, SH
from rdflib.plugins.shared.jsonld import context

_SEVERITIES: dict[Any, str] = {SH.Violation: "ERROR", SH.Warning: "WARNING", SH.Info: "INFO"}
_SPARQL = (SH.sparql, SH.select, SH.ask, SH.construct, SH.rule, SH.expression)
# https://www.w3.org/TR/shacl-js/: each of its constraints, rules, functions and targets has one of them.
_SCRIPTS = tuple(SH[name] for name in ("js", "jsFunctionName", "jsLibrary"))
_PATHS = {
    SH.inversePath: "^{}",
    SH.zeroOrMorePath: "{}*",
    SH.oneOrMorePath: "{}+",
    SH.zeroOrOnePath: "{}?",
}
_MAX_TEXT = 2000


class GraphRefused(Exception):
    """Data or shapes cannot be used. `part` says which, `reason` why."""

    def __init__(self, part: str, reason: object) -> None:
        super().__init__(str(reason)[:_MAX_TEXT])
        self.part, self.reason = part, str(reason)[:_MAX_TEXT]


def main(folder: Path, data_format: str) -> int:
    _forbid_addresses()
    options = json.loads((folder / "options.json").read_bytes())
    try:
        answer = _check(folder, data_format, options)
    except GraphRefused as refused:
        answer = {"refused": refused.part, "reason": refused.reason}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _forbid_addresses() -> None:
    """Let every attempt to open a connection or a file by its address fail with a reason."""

    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise OSError("other addresses are not read; put the content into the document")

    for owner, name in (
        (context, "source_to_json"),  # reads contexts of JSON-LD, also from files
        (urllib.request.OpenerDirector, "open"),
        (socket.socket, "connect"),
    ):
        setattr(owner, name, refuse)


def _check(folder: Path, data_format: str, options: dict[str, Any]) -> dict[str, Any]:
    shapes = _graph(folder / "shapes.ttl", "turtle", "shapes", options["max_shape_triples"])
    if script := next((each for each in _SCRIPTS if (None, each, None) in shapes), None):
        raise GraphRefused("script", f"sh:{script.fragment}")
    uses_sparql = any((None, each, None) in shapes for each in _SPARQL)
    if uses_sparql and not options["sparql"]:
        raise GraphRefused("sparql", "")
    ontology = None
    if (folder / "ontology.ttl").exists():
        limit = options["max_ontology_triples"]
        ontology = _graph(folder / "ontology.ttl", "turtle", "ontology", limit)
    data = _graph(folder / "data", data_format, "data", options["max_data_triples"])
    try:
        conforms, report, _text = pyshacl.validate(
            data,
            shacl_graph=shapes,
            ont_graph=ontology,
            inference=options["inference"],
            advanced=options["sparql"],
            max_validation_depth=options["depth"],
            do_owl_imports=False,
            js=False,
        )
    except Exception as error:  # noqa: BLE001 - pySHACL and RDFLib raise errors of many kinds
        raise GraphRefused("shapes", error) from None
    if not isinstance(report, Graph):
        raise GraphRefused("shapes", report)
    report.serialize(folder / "report.ttl", format="turtle", encoding="utf-8")
    results = sorted(_results(report, data), key=lambda each: (each["rank"], each["focus"]))
    counts = {name: sum(r["severity"] == name for r in results) for name in _SEVERITIES.values()}
    return {
        "conforms": bool(conforms),
        "triples": len(data),
        "namespaces": sorted({str(uri) for _prefix, uri in data.namespaces()})[:100],
        "counts": counts,
        "results": results[: options["max_findings"]],
        "total": len(results),
        "engine": version("pyshacl"),
    }


def _graph(path: Path, form: str, part: str, limit: int) -> Graph:
    graph = Graph(bind_namespaces="none")
    try:
        # The base is no address, so that relative names do not become paths of this machine.
        graph.parse(data=path.read_bytes(), format=form, publicID="urn:document:")
    except Exception as error:  # noqa: BLE001 - pySHACL and RDFLib raise errors of many kinds
        raise GraphRefused(part, error) from None
    if len(graph) > limit:
        raise GraphRefused(part, f"it has {len(graph):,} triples; at most {limit:,} are checked")
    return graph


def _results(report: Graph, data: Graph) -> Iterator[dict[str, Any]]:
    names = data.namespace_manager
    for node in report.subjects(RDF.type, SH.ValidationResult):
        severity = _SEVERITIES.get(report.value(node, SH.resultSeverity), "ERROR")
        component = str(report.value(node, SH.sourceConstraintComponent) or "")
        yield {
            "rank": list(_SEVERITIES.values()).index(severity),
            "severity": severity,
            "focus": _shown(report, report.value(node, SH.focusNode), names),
            "path": _path(report, report.value(node, SH.resultPath), names),
            "value": _shown(report, report.value(node, SH.value), names),
            "message": " ".join(sorted(map(str, report.objects(node, SH.resultMessage))))[
                :_MAX_TEXT
            ],
            "component": component.rpartition("#")[2].removesuffix("ConstraintComponent"),
        }


def _shown(report: Graph, node: Any, names: Any) -> str:
    if node is None:
        return ""
    if isinstance(node, Literal):
        return repr(str(node))[:200]
    if isinstance(node, BNode):
        return "a blank node"
    return str(node.n3(names) if isinstance(node, URIRef) else node)[:500]


def _path(report: Graph, node: Any, names: Any, depth: int = 0) -> str:
    """Return a property path as SPARQL writes it."""
    if node is None or depth > 10:
        return ""
    if isinstance(node, URIRef):
        return _shown(report, node, names)

    def inner(each: Any) -> str:
        return _path(report, each, names, depth + 1)

    if report.value(node, RDF.first) is not None:
        return "/".join(map(inner, report.items(node)))
    for predicate, form in _PATHS.items():
        if (operand := report.value(node, predicate)) is not None:
            return form.format(inner(operand))
    choices = report.value(node, SH.alternativePath)
    return "|".join(map(inner, report.items(choices))) if choices is not None else ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
