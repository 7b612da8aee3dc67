"""The rows of a run: the run, its steps, attempts and receipts, findings, artifacts and events.

A `Run` leads one submission through one version of a workflow. Each of its `StepRun`s applies one
validator; a container validator is executed by `Attempt`s, of which a step has at most one that has
not ended. A `CallbackReceipt` says that a validator called back. `Finding`, `Artifact` and
`RunEvent` are the results of a run; a `RunShare` shows it to people without an account. A `SavedView`
keeps filters of the list of runs, an `ExportFile` a report or archive that a task has made.
`validibot.runs.states` holds the transitions of each status, and only `validibot.runs.lifecycle` ends
a run, a step run or an attempt.
"""

from validibot.runs.models.attempts import Attempt, CallbackReceipt, with_images
from validibot.runs.models.exports import ExportFile, ExportState
from validibot.runs.models.results import Artifact, Finding, RunEvent, RunEvidence, RunShare
from validibot.runs.models.runs import (
    IdempotencyKey,
    OutputValue,
    Run,
    StepRun,
    digest_of,
    named_outputs,
)
from validibot.runs.models.saved_views import SavedView

__all__ = [
    "Artifact",
    "Attempt",
    "CallbackReceipt",
    "ExportFile",
    "ExportState",
    "Finding",
    "IdempotencyKey",
    "OutputValue",
    "Run",
    "RunEvent",
    "RunEvidence",
    "RunShare",
    "SavedView",
    "StepRun",
    "digest_of",
    "named_outputs",
    "with_images",
]
