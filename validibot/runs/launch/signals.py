"""What launching sets off; `callback`, `cancel` and `reconcile`, which lie above, listen (see apps)."""

from django.dispatch import Signal

# attempt_id: an execution is on its way, or may be; somebody should look after it.
attempt_launched = Signal()
# attempt_id: the backend saw its execution end.
attempt_ended = Signal()
# body: what a validator that cannot reach the worker would have posted.
called_back = Signal()
# Only of mocked validators. attempt_id: its time counts as over; run_id: a user wants it stopped.
attempt_overdue = Signal()
run_unwanted = Signal()
