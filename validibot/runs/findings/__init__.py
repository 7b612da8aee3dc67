"""From what a validator says to rows: findings, outputs, artifacts, the end of step and run."""

from validibot.runs.findings.answer import validator_identity
from validibot.runs.findings.close import Moved, close_step, ending, skip_steps
from validibot.runs.findings.rules import apply_assertions
from validibot.runs.findings.settlement import Settled, Settlement, fail, follow, settle
from validibot.runs.findings.verdict import Verdict, broken, finding, judged, timed_out

__all__ = [
    "Moved",
    "Settled",
    "Settlement",
    "Verdict",
    "apply_assertions",
    "broken",
    "close_step",
    "ending",
    "fail",
    "finding",
    "follow",
    "judged",
    "settle",
    "skip_steps",
    "timed_out",
    "validator_identity",
]
