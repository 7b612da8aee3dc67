"""How scenarios of mocked validators act on runs.

The production interface of an execution backend only launches, looks and cancels. A mocked
validator must also behave as clients and time do: call back (twice, late, with a wrong nonce),
exceed its time, be cancelled by its user. `RunSimulator` does these things through the code that
real callbacks, sweeps and users go through. `MockBackend` loads it by the name in its options.
"""

from uuid import UUID

from validibot.runs import callback, reconcile
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt


class RunSimulator:
    """Implementation of the mock backend's `Simulator`."""

    def scenario(self, attempt_id: UUID) -> str:
        attempt = Attempt.objects.select_related("step_run__run", "step_run__step").get(
            pk=attempt_id
        )
        return attempt.step_run.run.scenario or attempt.step_run.step.scenario

    def call_back(self, body: bytes) -> None:
        callback.handle(body)

    def time_out(self, attempt_id: UUID) -> None:
        reconcile.time_out(attempt_id)

    def cancel(self, run_id: UUID) -> None:
        cancel_run(run_id, actor="mock")
