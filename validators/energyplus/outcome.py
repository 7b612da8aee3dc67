"""Result of a finished run: its status, typed outputs and artifacts."""

import logging
import sqlite3
from pathlib import Path

from validibot_shared.energyplus.envelopes import EnergyPlusInputs, EnergyPlusOutputs
from validibot_shared.energyplus.models import (
    STDOUT_TAIL_CHARS,
    EnergyPlusSimulationLogs,
    EnergyPlusSimulationMetrics,
    EnergyPlusSimulationOutputs,
)
from validibot_shared.validations.envelopes import Severity, ValidationMessage, ValidationStatus

from validators.energyplus.checks import TAG, missing_evidence, version_matches
from validators.energyplus.engine import EnergyPlusEngine
from validators.energyplus.report import Report, read_report
from validators.energyplus.results import open_results, read_metrics, write_hourly_csv
from validators.sdk.process import Ended
from validators.sdk.validation import ArtifactFile, ValidationResult, error

log = logging.getLogger(__name__)

_ESO_LIMIT = 8 << 20
_ARTIFACTS = {
    "eplusout.sql": ("simulation-db", "application/vnd.sqlite3"),
    "eplusout.csv": ("timeseries-csv", "text/csv"),
    "eplusout.err": ("err-log", "text/plain"),
    "eplusout.eso": ("eso", "text/plain"),
    "eplusout.eio": ("file", "text/plain"),
    "eplusout.end": ("file", "text/plain"),
    "eplustbl.htm": ("file", "text/html"),
}


def nothing_ran(*, idf_version: str | None = None) -> EnergyPlusOutputs:
    """Return the outputs of an engine that did not start; the envelope requires them."""
    return EnergyPlusOutputs(
        energyplus_returncode=-1,
        execution_seconds=0,
        invocation_mode="cli",
        idf_version=idf_version,
        version_match=version_matches(idf_version) if idf_version else None,
    )


def conclude(
    ended: Ended,
    *,
    folder: Path,
    inputs: EnergyPlusInputs,
    engine: EnergyPlusEngine,
    idf_version: str | None,
    review: list[ValidationMessage],
) -> ValidationResult:
    """Return the result of a run from the files in its folder."""
    report = read_report(folder)
    metrics = _results(folder)
    if inputs.review_profile == "leed_review" and inputs.run_simulation:
        review = [*review, *missing_evidence(metrics)]
    status, reasons = _verdict(ended, report, simulated=inputs.run_simulation)
    messages = [*reasons, *review, *report.messages]
    if status is ValidationStatus.SUCCESS and _has_errors(review):
        status = ValidationStatus.FAILED_VALIDATION
    artifacts = _artifacts(folder)
    return ValidationResult(
        status=status,
        messages=messages,
        artifacts=artifacts,
        outputs=_outputs(
            nothing_ran(idf_version=idf_version),
            ended=ended,
            report=report,
            metrics=metrics,
            engine=engine,
            names={artifact.path.name for artifact in artifacts},
        ).model_copy(update={"review_issue_count": sum(TAG in item.tags for item in messages)}),
    )


def _verdict(
    ended: Ended, report: Report, *, simulated: bool
) -> tuple[ValidationStatus, list[ValidationMessage]]:
    """Return the status: success only if the engine reports completion and no severe error."""
    if ended.timed_out:
        text = f"The simulation was stopped after {ended.seconds:.0f} s, its time limit."
        return ValidationStatus.FAILED_RUNTIME, [error(text, code="ENERGYPLUS_TIMEOUT")]
    if ended.returncode < 0:
        memory = " It ran out of memory." if "bad_alloc" in ended.stderr_tail else ""
        text = f"The engine crashed ({ended.signal_name}).{memory}"
        return ValidationStatus.FAILED_RUNTIME, [error(text, code="ENERGYPLUS_CRASHED")]
    errors = report.counts["Severe"] + report.counts["Fatal"]
    if ended.returncode == 0 and not errors and (report.completed or not simulated):
        return ValidationStatus.SUCCESS, []
    if _has_errors(report.messages):
        return ValidationStatus.FAILED_VALIDATION, []
    text = f"The engine ended with code {ended.returncode} and did not complete the simulation."
    return ValidationStatus.FAILED_VALIDATION, [error(text, code="ENERGYPLUS_INCOMPLETE")]


def _results(folder: Path) -> EnergyPlusSimulationMetrics:
    database = folder / "eplusout.sql"
    if database.is_file():
        try:
            with open_results(database) as results:
                write_hourly_csv(results, folder / "eplusout.csv")
                return read_metrics(results)
        except sqlite3.Error as problem:
            # A run that broke off leaves a database without its last tables.
            log.warning("eplusout.sql is incomplete: %s", problem)
    return EnergyPlusSimulationMetrics()


def _artifacts(folder: Path) -> list[ArtifactFile]:
    found = [(folder / name, *kind) for name, kind in _ARTIFACTS.items()]
    return [
        ArtifactFile(path=path, type=kind, mime_type=mime_type)
        for path, kind, mime_type in found
        if path.is_file() and not (kind == "eso" and path.stat().st_size > _ESO_LIMIT)
    ]


def _outputs(
    outputs: EnergyPlusOutputs,
    *,
    ended: Ended,
    report: Report,
    metrics: EnergyPlusSimulationMetrics,
    engine: EnergyPlusEngine,
    names: set[str],
) -> EnergyPlusOutputs:
    idd_version, idd_build = engine.idd_stamp()
    return outputs.model_copy(
        update={
            "energyplus_returncode": ended.returncode,
            "execution_seconds": ended.seconds,
            "outputs": EnergyPlusSimulationOutputs(
                **{
                    name.replace(".", "_"): Path("outputs", name)
                    for name in names
                    if name in {"eplusout.sql", "eplusout.err", "eplusout.csv", "eplusout.eso"}
                }
            ),
            "metrics": metrics,
            "logs": EnergyPlusSimulationLogs(
                stdout_tail=ended.stdout_tail[-STDOUT_TAIL_CHARS:] or None,
                stderr_tail=ended.stderr_tail[-STDOUT_TAIL_CHARS:] or None,
                err_tail=report.tail,
            ),
            "energyplus_binary_version": report.version,
            "energyplus_binary_build": report.build,
            "idd_version": idd_version,
            "idd_build": idd_build,
            "idd_path": str(engine.idd),
            "completed_successfully": report.completed and ended.returncode == 0,
            "warning_count": report.counts["Warning"],
            "severe_count": report.counts["Severe"],
            "fatal_count": report.counts["Fatal"],
            "has_sql_output": "eplusout.sql" in names,
            "has_err_output": "eplusout.err" in names,
            "has_csv_output": "eplusout.csv" in names,
            "has_eso_output": "eplusout.eso" in names,
        }
    )


def _has_errors(messages: list[ValidationMessage]) -> bool:
    return any(message.severity is Severity.ERROR for message in messages)
