"""Schematron validation: compile the rules, apply them in a child process, report."""

import json
import re
import sys
from pathlib import Path

from validibot_shared.schematron import (
    ENGINE_ERROR_RULES_INVALID,
    ENGINE_STATUS_ERROR,
    ENGINE_STATUS_TIMEOUT,
    SchematronInputEnvelope,
    SchematronInputs,
    SchematronOutputEnvelope,
    SchematronOutputs,
)
from validibot_shared.validations.envelopes import MessageLocation

from validators.schematron.compile import CompiledRules, SchemaInvalid, compile_schema
from validators.schematron.document import DocumentRefused, XmlDocument
from validators.schematron.report import read_report
from validators.sdk.manifest import read_manifest
from validators.sdk.process import Ended, run_limited
from validators.sdk.validation import (
    ContainerValidator,
    Failure,
    ValidationRequest,
    ValidationResult,
    error,
    failed,
    rejected,
)

PORT = "xml_document"
_MEMORY_MB = read_manifest(Path(__file__).parent).budgets.memory_mb
_TRANSFORM = Path(__file__).with_name("transform.py")
_PLACE = re.compile(r" on line (\d+)")
_CODED = re.compile(r"\b([A-Z]{4}\d{4})\s+(.*)", re.DOTALL)
_CONTEXT = re.compile(r"\n\s*(In|at) (template|function|the) .*", re.DOTALL)
_FUNCTIONS = "Q{http://www.w3.org/2005/xpath-functions}"
_SHOWN = 5


def validate(request: ValidationRequest[SchematronInputEnvelope]) -> ValidationResult:
    """Validate the XML document of a request."""
    inputs = request.envelope.inputs
    try:
        rules = compile_schema(inputs.schematron_text)
    except SchemaInvalid as invalid:
        return _rules_invalid(f"{_at(invalid.line)}{invalid}")
    try:
        document = XmlDocument(
            request.file(PORT), max_bytes=inputs.max_input_bytes, max_depth=inputs.max_input_depth
        )
    except DocumentRefused as refused:
        place = MessageLocation(line=refused.line) if refused.line else None
        return rejected(error(str(refused), code=refused.code, location=place))
    return _result(
        _apply(rules, document, request), rules=rules, document=document, request=request
    )


def _result(
    ended: Ended,
    *,
    rules: CompiledRules,
    document: XmlDocument,
    request: ValidationRequest[SchematronInputEnvelope],
) -> ValidationResult:
    inputs = request.envelope.inputs
    if ended.timed_out:
        return _timeout(ended.seconds)
    if ended.returncode:
        return _crashed(ended, min(inputs.max_memory_mb, _MEMORY_MB))
    problem = request.folder / "problem.json"
    if problem.exists():
        return _problem(**json.loads(problem.read_bytes()), rules=rules, log=ended.stderr_tail)
    return read_report(
        request.folder, document=document, inputs=inputs, rules=rules, seconds=ended.seconds
    )


def _apply(
    rules: CompiledRules,
    document: XmlDocument,
    request: ValidationRequest[SchematronInputEnvelope],
) -> Ended:
    inputs: SchematronInputs = request.envelope.inputs
    folder = request.folder
    (folder / "rules.xsl").write_bytes(rules.stylesheet)
    (folder / "document.xml").write_text(document.text(), encoding="utf-8")
    memory_mb = min(inputs.max_memory_mb, _MEMORY_MB)
    return run_limited(
        [sys.executable, "-I", _TRANSFORM, folder, str(memory_mb)],
        folder=folder,
        timeout=min(request.seconds_left(), inputs.xslt_timeout_seconds),
        memory_mb=None,  # the child limits itself, because Saxon reserves more than it uses
        environment={"HOME": str(folder), "LC_ALL": "C.UTF-8"},
    )


def _problem(phase: str, text: str, *, rules: CompiledRules, log: str) -> ValidationResult:
    """Return the result of a transformation that wrote no report."""
    if phase == "size":
        text = f"The report would have {int(text) >> 20} MB: too many rules are broken. Send less."
        return rejected(error(text, code="SCHEMATRON_TOO_MANY_FINDINGS"))
    reasons = list(dict.fromkeys(_reasons(text if phase == "compile" else log or text, rules)))
    shown = " ".join(reasons[:_SHOWN]) or text.strip()[:500]
    if phase == "compile":
        return _rules_invalid(shown)
    return _rules_invalid(f"The rules failed with this document. {shown}")


def _reasons(text: str, rules: CompiledRules) -> list[str]:
    """Return the sentences of Saxon's messages, each with the line of the schema."""
    found = []
    for message in re.split(r"^\s*(?=Error )", text, flags=re.MULTILINE):
        if coded := _CODED.search(message):
            place = _PLACE.search(message)
            line = rules.schema_line(int(place[1])) if place else None
            sentence = " ".join(_CONTEXT.sub("", coded[2]).replace(_FUNCTIONS, "").split())
            found.append(f"{_at(line)}{sentence.rstrip('.')} ({coded[1]}).")
    return found


def _at(line: int | None) -> str:
    return f"Line {line} of the schema: " if line else ""


def _rules_invalid(text: str) -> ValidationResult:
    outputs = SchematronOutputs(
        engine_status=ENGINE_STATUS_ERROR,
        engine_error_code=ENGINE_ERROR_RULES_INVALID,
        engine_message=text,
    )
    message = f"The rules of the step cannot be used. {text}"
    return failed(message, code="SCHEMATRON_RULES_INVALID", outputs=outputs)


def _timeout(seconds: float) -> ValidationResult:
    text = (
        f"The check did not end within {seconds:.0f} s and was stopped. Look for expressions that "
        "search the whole document for each element, or send a smaller document."
    )
    outputs = SchematronOutputs(engine_status=ENGINE_STATUS_TIMEOUT, engine_message=text)
    return failed(text, code="SCHEMATRON_TIMEOUT", outputs=outputs)


def _crashed(ended: Ended, memory_mb: int) -> ValidationResult:
    log = ended.stdout_tail + ended.stderr_tail
    if "StackOverflow" in log or ended.signal_name == "SIGSEGV":
        return _rules_invalid("A function of the rules calls itself without end.")
    # Saxon ends so where no memory is left; the reason stands far above the last lines of its log.
    if "Fatal error" in log or ended.signal_name == "SIGKILL":
        text = f"The check needs more than {memory_mb} MB. Send a smaller document."
        return rejected(error(text, code="SCHEMATRON_OUT_OF_MEMORY"))
    raise Failure(f"Saxon failed: {log[-500:].strip()}", code="SCHEMATRON_CRASHED")


VALIDATOR = ContainerValidator(
    validate=validate,
    input_envelope=SchematronInputEnvelope,
    output_envelope=SchematronOutputEnvelope,
    memory_mb=_MEMORY_MB,
)
