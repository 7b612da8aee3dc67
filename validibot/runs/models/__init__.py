"""The rows of a run: the run and its steps, attempts and receipts, findings, artifacts, events."""

from validibot.runs.models.attempts import Attempt, Receipt, with_images
from validibot.runs.models.results import Artifact, Finding, RunEvent
from validibot.runs.models.runs import IdempotencyKey, Run, StepRun

__all__ = [
    "Artifact",
    "Attempt",
    "Finding",
    "IdempotencyKey",
    "Receipt",
    "Run",
    "RunEvent",
    "StepRun",
    "with_images",
]
