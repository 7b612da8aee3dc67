"""How an attempt of a task ended, in the terms that Cloud Run reports."""

from dataclasses import dataclass

from devenv.gcp.errors import Aborted, DeadlineExceeded, Internal, ResourceExhausted
from devenv.gcp.run_jobs.messages import Pb, TaskAttemptResult
from devenv.gcp.run_jobs.runtimes.base import Exit

OK = 0
CANCELLED = 1  # google.rpc.Code


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is a google.rpc.Code; `exit_code` and `signal` are never both set."""

    status: int
    message: str = ""
    exit_code: int = 0
    signal: int = 0

    @property
    def succeeded(self) -> bool:
        return self.status == OK

    @property
    def cancelled(self) -> bool:
        return self.status == CANCELLED

    def result(self) -> Pb:
        result = TaskAttemptResult(exit_code=self.exit_code, term_signal=self.signal)
        result.status.code = self.status
        result.status.message = self.message
        return result


NEVER_RAN = Outcome(CANCELLED, "Cancelled by user.")


def judge(ended: Exit, *, cancelling: bool) -> Outcome:
    """Turn the end of a container into an outcome.

    Who ended by itself before the cancellation or the timeout reached it keeps its own result.
    """
    stopped = ended.terminated or ended.lost
    causes = (
        (stopped and cancelling, CANCELLED, "Cancelled by user."),
        (ended.lost, Internal.code, "Internal error."),
        (ended.out_of_memory, ResourceExhausted.code, "The configured memory limit was reached."),
        (ended.terminated, DeadlineExceeded.code, "The configured timeout was reached."),
        (ended.signal, Aborted.code, "A signal terminated the container."),
        (ended.code, Aborted.code, "The container exited with an error."),
    )
    for applies, status, message in causes:
        if applies:
            code = ended.code if status == Aborted.code else 0
            return Outcome(status, message, code, ended.signal)
    return Outcome(OK)
