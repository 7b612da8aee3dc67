"""SHACL validation: check RDF data in a child process, report."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from validibot_shared.shacl import SHACLInputEnvelope, SHACLOutputEnvelope, SHACLOutputs
from validibot_shared.validations.envelopes import (
    MessageLocation,
    Severity,
    ValidationMessage,
    ValidationStatus,
)

from validators.sdk.manifest import read_manifest
from validators.sdk.process import Ended, run_limited
from validators.sdk.validation import (
    ArtifactFile,
    ContainerValidator,
    Failure,
    ValidationRequest,
    ValidationResult,
    error,
    failed,
    rejected,
)

PORT = "data_graph"
_MEMORY_MB = read_manifest(Path(__file__).parent).budgets.memory_mb
_CHECK = Path(__file__).with_name("check.py")
_MAX_FINDINGS = 500
_MAX_BYTES = 32 << 20
_FORMATS = {
    ".ttl": "turtle",
    ".jsonld": "json-ld",
    ".json": "json-ld",
    ".rdf": "xml",
    ".xml": "xml",
    ".nt": "nt",
}


def validate(request: ValidationRequest[SHACLInputEnvelope]) -> ValidationResult:
    """Validate the RDF graph of a request."""
    inputs, folder = request.envelope.inputs, request.folder
    source = request.file(PORT)
    if source.stat().st_size > _MAX_BYTES:
        text = f"The document has more than {_MAX_BYTES >> 20} MB. Split it."
        return rejected(error(text, code="SHACL_TOO_LARGE"))
    form = inputs.rdf_format
    if "rdf_format" not in inputs.model_fields_set:
        form = _FORMATS.get(source.suffix.lower(), form)
    (folder / "data").write_bytes(source.read_bytes())
    (folder / "shapes.ttl").write_text(inputs.shapes_text, encoding="utf-8")
    if inputs.ontology_text.strip():
        (folder / "ontology.ttl").write_text(inputs.ontology_text, encoding="utf-8")
    options = {
        "inference": inputs.inference_mode,
        "sparql": inputs.advanced_shacl and inputs.enable_advanced_features,
        "depth": inputs.max_validation_depth,
        "max_data_triples": inputs.max_data_triples,
        "max_shape_triples": inputs.max_shape_triples,
        "max_ontology_triples": inputs.max_ontology_triples,
        "max_findings": _MAX_FINDINGS,
    }
    (folder / "options.json").write_text(json.dumps(options))
    ended = run_limited(
        [sys.executable, "-I", _CHECK, folder, form],
        folder=folder,
        timeout=min(request.seconds_left(), inputs.pyshacl_timeout_seconds),
        memory_mb=request.memory_mb,
        environment={"HOME": str(folder), "LC_ALL": "C.UTF-8"},
    )
    return _result(ended, request=request, form=form)


def _result(
    ended: Ended, *, request: ValidationRequest[SHACLInputEnvelope], form: str
) -> ValidationResult:
    if ended.timed_out:
        text = f"The check did not end within {ended.seconds:.0f} s. Send a smaller graph."
        return failed(text, code="SHACL_TIMEOUT")
    path = request.folder / "answer.json"
    if ended.returncode or not path.exists():
        if "MemoryError" in ended.stderr_tail or ended.returncode < 0:
            text = f"The check needs more than {request.memory_mb} MB. Send a smaller graph."
            return rejected(error(text, code="SHACL_OUT_OF_MEMORY"))
        raise Failure(f"pySHACL failed: {ended.stderr_tail[-500:]}", code="SHACL_CRASHED")
    answer = json.loads(path.read_bytes())
    if "refused" in answer:
        return _refused(answer["refused"], answer["reason"], form=form)
    return _report(answer, request=request, form=form, seconds=ended.seconds)


def _refused(part: str, reason: str, *, form: str) -> ValidationResult:
    if part == "data":
        return rejected(error(f"The RDF cannot be read as {form}: {reason}.", code="SHACL_NOT_RDF"))
    if part == "sparql":
        text = (
            "The shapes have SPARQL or rules. Allow `advanced_shacl` in the step, or remove them."
        )
        return failed(text, code="SHACL_SPARQL_REFUSED")
    if part == "script":
        text = (
            f"The shapes have SHACL-JS ({reason}), which is not available. Write it in SPARQL and allow"
            " `advanced_shacl` in the step, or remove it."
        )
        return failed(text, code="SHACL_JS_REFUSED")
    text = f"The {part} of the step cannot be used: {reason}"
    return failed(text, code="SHACL_SHAPES_INVALID")


def _report(
    answer: dict[str, Any],
    *,
    request: ValidationRequest[SHACLInputEnvelope],
    form: str,
    seconds: float,
) -> ValidationResult:
    inputs = request.envelope.inputs
    counts = answer["counts"]
    messages = [_message(each) for each in answer["results"]]
    if hidden := answer["total"] - len(messages):
        text = f"{hidden} more findings are in report.ttl; the first {len(messages)} are listed."
        messages.append(
            ValidationMessage(severity=Severity.INFO, code="SHACL_MORE_FINDINGS", text=text)
        )
    report = request.folder / "report.ttl"
    return ValidationResult(
        status=ValidationStatus.FAILED_VALIDATION if counts["ERROR"] else ValidationStatus.SUCCESS,
        messages=messages,
        artifacts=[ArtifactFile(path=report, type="shacl-report", mime_type="text/turtle")],
        outputs=SHACLOutputs(
            conforms=answer["conforms"],
            parse_ok=True,
            parse_serialization=form,
            triple_count=answer["triples"],
            namespaces_present=answer["namespaces"],
            has_brick_namespace=any("brickschema.org" in each for each in answer["namespaces"]),
            shacl_violation_count=counts["ERROR"],
            shacl_warning_count=counts["WARNING"],
            shacl_info_count=counts["INFO"],
            shacl_total_count=answer["total"],
            shacl_shapes_sha256=hashlib.sha256(inputs.shapes_text.encode()).hexdigest(),
            advanced_shacl_requested=inputs.advanced_shacl,
            execution_seconds=seconds,
            pyshacl_version=answer["engine"],
        ),
    )


def _message(result: dict[str, Any]) -> ValidationMessage:
    text = result["message"] or f"The node does not fulfil {result['component']}."
    if result["value"] and result["value"] not in text:
        text = f"{text.rstrip('.')}. The value is {result['value']}."
    place = " ".join(part for part in (result["focus"], result["path"]) if part)
    return ValidationMessage(
        severity=Severity(result["severity"]),
        code=f"SHACL_{result['component']}" if result["component"] else "SHACL_RESULT",
        text=text,
        location=MessageLocation(path=place),
    )


VALIDATOR = ContainerValidator(
    validate=validate,
    input_envelope=SHACLInputEnvelope,
    output_envelope=SHACLOutputEnvelope,
    memory_mb=_MEMORY_MB,
)
