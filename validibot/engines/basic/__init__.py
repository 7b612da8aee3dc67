"""Basic engine: plain rules on JSON, YAML, XML and tables, without an expression language.

A rule is a row: the values at a path must satisfy an operator. Large documents are checked in a
child process. The first MAX_PROBLEMS findings are listed, and the others counted by rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from validibot.engines.base import Document, Engine, EngineManifest, FileType, Output, Result
from validibot.engines.basic.documents import Tree, read_tree
from validibot.engines.basic.evaluate import Violation, evaluate_rule
from validibot.engines.basic.paths import MAX_MATCHES, TooManyMatches
from validibot.engines.basic.rules import BasicConfig, BasicRule
from validibot.engines.problems import MAX_PROBLEMS, BadDocument, DocumentProblem
from validibot.engines.sandbox import run_in_child, too_expensive

# Bytes of the document times rules that may be checked in this process, which takes about 2 s.
MAX_WORK_HERE = 4 * 1024 * 1024
_DONE = "done"


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a document; `config` is a BasicConfig as JSON."""
    rules = BasicConfig.model_validate(config).rules
    # Aliases of a short YAML document may write out a million values.
    has_aliases = document.is_yaml and b"*" in document.content
    if has_aliases or len(document.content) * len(rules) > MAX_WORK_HERE:
        return _check_in_child(document, config)
    return _check(document, rules)


def _check(document: Document, rules: Sequence[BasicRule]) -> Result:
    try:
        tree = read_tree(document)
    except BadDocument as bad:
        return Result((bad.problem,))
    problems: list[DocumentProblem] = []
    failed = 0
    for rule in rules:
        found = _problems(rule, tree, room=MAX_PROBLEMS - len(problems))
        failed += bool(found)
        problems += found
    outputs = {"rule_count": len(rules), "failed_rule_count": failed}
    return Result(tuple(problems), outputs)


def _problems(rule: BasicRule, tree: Tree, *, room: int) -> list[DocumentProblem]:
    """Return the first problems of a rule, and one with the count if there are more."""
    try:
        violations = evaluate_rule(rule, tree)
        # Of each rule at least one is listed.
        first = islice(violations, max(1, room))
        listed = [_problem(rule, each, tree) for each in first]
        more = sum(1 for _ in violations)
    except TooManyMatches:
        message = f"`{rule.path}` selects more than {MAX_MATCHES:,} values. Write a narrower path."
        return [DocumentProblem(message, rule.severity, "basic.too_many")]
    if more:
        message = (
            f"`{rule.path}` breaks the rule `{rule.operator}` {len(listed) + more:,} times; the first"
            f" {len(listed):,} are listed."
        )
        listed.append(DocumentProblem(message, "INFO", "basic.more", rule.path))
    return listed


def _problem(rule: BasicRule, violation: Violation, tree: Tree) -> DocumentProblem:
    message = violation.message
    if rule.message:
        message = rule.message.replace("{place}", violation.place)
        message = message.replace("{value}", violation.value).replace("{expected}", violation.must)
    line, column = tree.position(violation.keys)
    code = f"basic.{rule.operator}"
    path = tree.pointer(violation.keys)
    return DocumentProblem(message, rule.severity.value, code, path, line, column)


def check_header(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield each problem, then the outputs. Runs in a child process (see sandbox)."""
    rules = BasicConfig.model_validate(header["config"]).rules
    result = _check(Document(body, header["filename"], ""), rules)
    for problem in result.problems:
        yield asdict(problem)
    yield {_DONE: result.outputs}


def _check_in_child(document: Document, config: Mapping[str, Any]) -> Result:
    header = {"filename": document.filename, "config": config}
    lines = run_in_child(check_header, header, document.content, ENGINE.manifest)
    if not lines or _DONE not in lines[-1]:
        return Result((too_expensive(ENGINE.manifest),))
    *problems, end = lines
    return Result(tuple(DocumentProblem(**fields) for fields in problems), end[_DONE])


ENGINE = Engine(
    EngineManifest(
        slug="basic",
        title="Basic",
        description="Checks values of JSON, YAML, XML, CSV or TSV with plain rules: required, ranges,"
        " patterns, lists, dates, sums and more.",
        validation_type="BASIC",
        version="1",
        accepts=(
            FileType(".json", "application/json"),
            FileType(".yaml", "application/yaml"),
            FileType(".yml", "application/yaml"),
            FileType(".xml", "application/xml"),
            FileType(".csv", "text/csv"),
            FileType(".tsv", "text/tab-separated-values"),
            FileType(".epjson", "application/json"),
        ),
        outputs=(
            Output("rule_count", "Number of rules", "", "rule_count"),
            Output("failed_rule_count", "Number of rules with findings", "", "failed_rule_count"),
        ),
    ),
    check,
    BasicConfig,
)
