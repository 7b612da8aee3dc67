"""Result of a finished run: its status, typed outputs and artifacts."""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from validibot_shared.energyplus.envelopes import EnergyPlusInputs, EnergyPlusOutputs
from validibot_shared.energyplus.models import (
    STDOUT_TAIL_CHARS,
    EnergyPlusSimulationLogs,
    EnergyPlusSimulationMetrics,
    EnergyPlusSimulationOutputs,
)
from validibot_shared.validations.envelopes import Severity, ValidationMessage, ValidationStatus

from validators.energyplus.artifacts import collect
from validators.energyplus.checks import TAG, missing_evidence, version_matches
from validators.energyplus.engine import EnergyPlusEngine
from validators.energyplus.report import Report, read_report
from validators.energyplus.results import RunResults, read_metrics
from validators.energyplus.series import open_results
from validators.energyplus.submitted import SubmittedModel
from validators.sdk.process import Ended
from validators.sdk.validation import ArtifactFile, ValidationResult, error

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """Run of the engine that has ended.

    `series` waits for the time series in the folder, which are written meanwhile, and returns
    messages about them.
    """

    ended: Ended
    folder: Path
    series: Callable[[], list[ValidationMessage]]


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
    run: EngineRun,
    *,
    inputs: EnergyPlusInputs,
    engine: EnergyPlusEngine,
    submitted: SubmittedModel,
    review: list[ValidationMessage],
) -> ValidationResult:
    """Return the result of a run from the files in its folder.

    Messages of severity INFO in `review` come after the engine's own.
    """
    ended, folder = run.ended, run.folder
    report = read_report(folder, submitted)
    completed = inputs.run_simulation and report.completed and ended.returncode == 0
    results, notes = _results(run, expected=completed)
    if inputs.review_profile == "leed_review" and inputs.run_simulation:
        review = [*review, *missing_evidence(results.named)]
    artifacts, left_out = collect(folder)
    status, reasons = _verdict(ended, report, simulated=inputs.run_simulation)
    told_last = [message for message in review if message.severity is Severity.INFO]
    review = [message for message in review if message.severity is not Severity.INFO]
    messages = [*reasons, *review, *report.messages, *notes, *left_out, *told_last]
    if status is ValidationStatus.SUCCESS and _has_errors(review):
        status = ValidationStatus.FAILED_VALIDATION
    return ValidationResult(
        status=status,
        messages=messages,
        metrics=results.further,
        artifacts=artifacts,
        outputs=_outputs(
            nothing_ran(idf_version=submitted.version),
            ended=ended,
            report=report,
            metrics=results.named,
            engine=engine,
            artifacts=artifacts,
        ).model_copy(
            update={
                "completed_successfully": completed,
                "review_issue_count": sum(TAG in item.tags for item in messages),
            }
        ),
    )


def _verdict(
    ended: Ended, report: Report, *, simulated: bool
) -> tuple[ValidationStatus, list[ValidationMessage]]:
    """Return the status: success only if the engine reports completion and no severe error.

    A run that did not complete always has an error besides its severe ones, because a step may be
    told to pass in spite of severe errors.
    """
    if ended.timed_out:
        text = f"The simulation was stopped after {ended.seconds:.0f} s, its time limit."
        return ValidationStatus.FAILED_RUNTIME, [error(text, code="ENERGYPLUS_TIMEOUT")]
    if ended.returncode < 0:
        memory = " It ran out of memory." if "bad_alloc" in ended.stderr_tail else ""
        text = f"The engine crashed ({ended.signal_name}).{memory}"
        return ValidationStatus.FAILED_RUNTIME, [error(text, code="ENERGYPLUS_CRASHED")]
    if ended.returncode or (simulated and not report.completed) or report.counts["Fatal"]:
        text = f"The engine ended with code {ended.returncode} and did not complete the simulation."
        reasons = [] if report.counts["Fatal"] else [error(text, code="ENERGYPLUS_INCOMPLETE")]
        return ValidationStatus.FAILED_VALIDATION, reasons
    severe = report.counts["Severe"]
    status = ValidationStatus.FAILED_VALIDATION if severe else ValidationStatus.SUCCESS
    return status, [] if simulated else [_not_simulated()]


def _not_simulated() -> ValidationMessage:
    text = (
        "The engine has read the model and simulated nothing, as the step's option `run_simulation` "
        "says. It checks the geometry, the sizes and most references between objects only in a "
        "simulation."
    )
    return ValidationMessage(severity=Severity.INFO, code="ENERGYPLUS_NOT_SIMULATED", text=text)


def _results(run: EngineRun, *, expected: bool) -> tuple[RunResults, list[ValidationMessage]]:
    """Return the metrics, and messages; a run that broke off may have neither these nor series."""
    try:
        with open_results(run.folder / "eplusout.sql") as results:
            found = read_metrics(results, run.folder / "eplusout_zones.csv")
    except sqlite3.Error as problem:
        # A run that broke off leaves a database without its last tables, or none.
        log.warning("eplusout.sql is incomplete: %s", problem)
        run.series()
        nothing = RunResults(named=EnergyPlusSimulationMetrics(), further=[])
        return nothing, [_no_results(str(problem))] if expected else []
    return found, run.series()


def _no_results(reason: str) -> ValidationMessage:
    text = (
        f"The run has no metrics and no time series: eplusout.sql cannot be read ({reason}). "
        "See eplusout.err for what the engine could not write."
    )
    return ValidationMessage(severity=Severity.WARNING, code="ENERGYPLUS_NO_RESULTS", text=text)


def _outputs(
    outputs: EnergyPlusOutputs,
    *,
    ended: Ended,
    report: Report,
    metrics: EnergyPlusSimulationMetrics,
    engine: EnergyPlusEngine,
    artifacts: list[ArtifactFile],
) -> EnergyPlusOutputs:
    idd_version, idd_build = engine.idd_stamp()
    # A compressed file counts as the file.
    paths = {
        artifact.path.name.removesuffix(".gz").replace(".", "_"): Path(
            "outputs", artifact.path.name
        )
        for artifact in artifacts
    }
    return outputs.model_copy(
        update={
            "energyplus_returncode": ended.returncode,
            "execution_seconds": ended.seconds,
            "outputs": EnergyPlusSimulationOutputs(
                **{name: paths.get(name) for name in EnergyPlusSimulationOutputs.model_fields}
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
            "warning_count": report.counts["Warning"],
            "severe_count": report.counts["Severe"],
            "fatal_count": report.counts["Fatal"],
            "has_sql_output": "eplusout_sql" in paths,
            "has_err_output": "eplusout_err" in paths,
            "has_csv_output": "eplusout_csv" in paths,
            "has_eso_output": "eplusout_eso" in paths,
        }
    )


def _has_errors(messages: list[ValidationMessage]) -> bool:
    return any(message.severity is Severity.ERROR for message in messages)
