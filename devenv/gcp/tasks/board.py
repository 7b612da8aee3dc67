"""What the methods of Cloud Tasks share: the live queues and everything that acts on them."""

from dataclasses import dataclass, field

from devenv.gcp.caller import Call, Guard, Minter
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import NotFound
from devenv.gcp.tasks.dispatcher import Dispatcher
from devenv.gcp.tasks.ledger import Ledger
from devenv.gcp.tasks.names import Names, queue_of
from devenv.gcp.tasks.queue import Entry, LiveQueue

NO_QUEUE = (
    "Queue does not exist. If you just created the queue, "
    "wait at least a minute for the queue to initialize."
)
NO_ENTITY = "Requested entity was not found."


@dataclass(slots=True)
class Board:
    config: CloudConfig
    names: Names
    guard: Guard
    minter: Minter
    clock: Clock
    ledger: Ledger
    dispatcher: Dispatcher
    queues: dict[str, LiveQueue] = field(default_factory=dict)

    def queue(self, name: str, missing: str = NO_QUEUE) -> LiveQueue:
        """Return the queue of this (parsed) name, else raise NotFound with the text `missing`."""
        try:
            return self.queues[name]
        except KeyError:
            raise NotFound(missing) from None

    def task(self, name: str) -> tuple[LiveQueue, Entry]:
        queue = self.queue(queue_of(name), NO_ENTITY)
        if name not in queue.tasks:
            raise NotFound(NO_ENTITY)
        return queue, queue.tasks[name]

    def allow(self, call: Call, permission: str, resource: str) -> None:
        self.guard.require(call.caller, f"cloudtasks.{permission}", resource)
