"""Faults: calls of the emulated cloud that are made to fail, to be late, or to lose their answer.

A fault strikes the calls that it matches until its count is used up or its time is over. A new one
strikes the streams that are open, too. It is kept in the store, so that it still holds after the
emulator was restarted. The journal marks each call that a fault has struck.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Self

from devenv.gcp.clock import Clock
from devenv.gcp.errors import (
    Aborted,
    CloudError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    refuse_on_full_disk,
)
from devenv.gcp.fault_matchers import (
    ATTEMPT,
    DELIVER,
    check_caller,
    check_method,
    check_resource,
)
from devenv.gcp.held import HeldDeliveries
from devenv.gcp.journal import OPERATOR, JournalEntry
from devenv.gcp.store import Store
from devenv.gcp.turns import begin

_ERRORS: dict[int, type[CloudError]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Aborted,
    429: ResourceExhausted,
    500: Internal,
    503: Unavailable,
    504: DeadlineExceeded,
}
STATUSES = tuple(_ERRORS)
OUTCOMES = ("crash", "out_of_memory", "hang")
_LONGEST_DELAY = 600.0
_LONGEST = 10 * 365 * 86_400.0
_MOST_TIMES = 1_000_000
_MOST = 1000


class AnswerLost(Unavailable):
    """The connection breaks without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of calls whose method, resource and caller match; `*` stands for any text.

    A struck call waits `delay` seconds. Then it is answered with the HTTP `status`, if one is set;
    its connection breaks before it is handled (`reset`); or it is handled and its answer is lost
    (`lose_answer`). A delivery may be made twice (`duplicate`), or after the next one to the same
    target (`reorder`), and an attempt of a job have an `outcome` of OUTCOMES instead of running.
    `times` is how often it strikes yet, and `until` the moment in Unix seconds, by the machine's
    clock, at which it ends, 0 for never. `struck` counts.
    """

    method: str
    resource: str = "*"
    caller: str = "*"
    status: int = 0
    delay: float = 0.0
    reset: bool = False
    lose_answer: bool = False
    duplicate: bool = False
    reorder: bool = False
    outcome: str = ""
    times: int = 1
    until: float = 0.0
    struck: int = 0
    id: int = 0

    def matches(self, entry: JournalEntry) -> bool:
        """Return whether this is a fault of the call; a caller's short name matches too."""
        name = entry.caller.partition("@")[0]
        if entry.method == ATTEMPT and (self.reset or self.lose_answer):
            return False  # an attempt has no connection
        return (
            fnmatchcase(entry.method.lower(), self.method.lower())
            and fnmatchcase(entry.resource, self.resource)
            and (fnmatchcase(entry.caller, self.caller) or name == self.caller)
        )

    def is_over(self, now: float) -> bool:
        return self.times <= 0 or 0 < self.until <= now


class _Strike:
    """The effect of a fault around a call; none without a fault."""

    __slots__ = ("_clock", "_entry", "_fault")

    def __init__(self, fault: Fault | None, entry: JournalEntry, clock: Clock) -> None:
        self._fault = fault
        self._entry = entry
        self._clock = clock

    async def __aenter__(self) -> Fault | None:
        fault = self._fault
        if fault is None:
            return None
        self._entry.fault = str(fault.id)
        await self._clock.machine_sleep(fault.delay)
        if error := _error_of(fault):
            raise error
        return fault

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._fault and self._fault.lose_answer and kind is None:
            raise AnswerLost(f"Fault {self._fault.id}: the answer was lost.")


def _error_of(fault: Fault) -> CloudError | None:
    """Return the error of a call that is not handled."""
    if fault.reset:
        return AnswerLost(f"Fault {fault.id}: the connection was reset.")
    if fault.status:
        return _ERRORS[fault.status](f"Fault {fault.id}: {fault.status} was asked for.")
    return None


class OpenStream:
    """A stream of answers in the present task, which a fault breaks off with a CloudError."""

    def __init__(self, entry: JournalEntry, clock: Clock, streams: "set[OpenStream]") -> None:
        """Be in `streams` as long as it is open."""
        self.entry = entry
        self._clock = clock
        self._streams = streams
        self._task: asyncio.Task[Any] | None = None
        self._delay: asyncio.Task[None] | None = None
        self._error: CloudError | None = None

    @property
    def is_open(self) -> bool:
        return self._task is not None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._streams.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._streams.discard(self)
        if self._delay:
            self._delay.cancel()
        # The task may have waited outside, for its client: that closes the generator in here.
        if self._error and kind in (asyncio.CancelledError, GeneratorExit):
            if self._task:
                self._task.uncancel()
            raise self._error

    def strike(self, fault: Fault) -> None:
        """Hold the answers back for the delay of a fault, then end the stream as it says."""
        self.entry.fault = str(fault.id)
        if self._delay:  # of an earlier fault
            self._delay.cancel()
        error = _error_of(fault)
        if fault.lose_answer:
            error = AnswerLost(f"Fault {fault.id}: the answer was lost.")
        self._delay = begin(self._end(fault.delay, error))

    async def ready(self) -> None:
        """Return when the next answer may be sent."""
        if self._delay and not self._delay.done():
            await asyncio.wait([self._delay])

    async def _end(self, delay: float, error: CloudError | None) -> None:
        if delay:
            await self._clock.machine_sleep(delay)
        if error and self._task:
            self._error = error
            self._task.cancel()


class Faults:
    """The faults of one emulated cloud; `methods` are those that it has."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._table = store.table("faults")
        self._last_id = store.table("fault_ids")
        self._clock = clock
        self.held = HeldDeliveries(clock)
        self._forms: Mapping[str, Sequence[str]] = {}
        self._callers: Callable[[], Iterable[str]] = lambda: ("*",)
        self._streams: set[OpenStream] = set()
        self._active = {int(key): Fault(**json.loads(value)) for key, value in self._table.scan()}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the cloud has, in order."""
        return tuple(self._forms)

    def know(
        self,
        forms: Mapping[str, Sequence[str]],
        callers: Callable[[], Iterable[str]] = lambda: ("*",),
    ) -> None:
        """Set the methods that the cloud has, with the forms of their resources, and the accounts.

        A fault that can never strike is refused.
        """
        self._forms = dict(sorted(forms.items()))
        self._callers = callers

    def add(self, fault: Fault) -> Fault:
        """Keep a new fault; return it with its id. Raises InvalidArgument."""
        self._check(fault)
        # An id is never used again: the journal names faults that are gone.
        number = int(self._last_id.get("last") or b"0") + 1
        self._last_id.put("last", str(number).encode())
        fault = replace(fault, id=number, struck=0)
        self._save(fault)
        for stream in tuple(self._streams):
            if struck := self._match(stream.entry, since=number):
                stream.strike(struck)
        return fault

    def all(self) -> list[Fault]:
        """Return the faults, those that are over too, in the order of their creation."""
        return list(self._active.values())

    def remove(self, number: int | None = None) -> int:
        """Remove one fault, or all; return how many there were."""
        numbers = list(self._active) if number is None else [n for n in self._active if n == number]
        for each in numbers:
            self._table.delete(f"{each:09d}")
            del self._active[each]
            self.held.release_fault(each)
        return len(numbers)

    def strike(self, entry: JournalEntry) -> "_Strike":
        """Handle a call inside, unless a fault makes it fail: that raises a CloudError.

        The value is the fault, if one strikes. AnswerLost comes at the end if the answer is lost,
        and before the call is handled if its connection is reset.
        """
        return _Strike(self._match(entry) if self._active else None, entry, self._clock)

    def stream(self, entry: JournalEntry) -> "OpenStream":
        """Send a stream of answers inside, unless a new fault ends it: that raises a CloudError.

        Wait for the value's `ready` before each answer.
        """
        return OpenStream(entry, self._clock, self._streams)

    def _match(self, entry: JournalEntry, *, since: int = 0) -> Fault | None:
        """Return the first fault from an id on that strikes this call, and count the strike."""
        if entry.caller == OPERATOR:
            return None
        now = self._clock.machine()
        for fault in self._active.values():
            if fault.id >= since and not fault.is_over(now) and fault.matches(entry):
                struck = replace(fault, times=fault.times - 1, struck=fault.struck + 1)
                self._save(struck)
                return struck
        return None

    def _save(self, fault: Fault) -> None:
        with refuse_on_full_disk(f"Fault {fault.id}"):  # a strike that cannot be counted is none
            self._table.put(f"{fault.id:09d}", json.dumps(asdict(fault)).encode())
        self._active[fault.id] = fault

    def _check(self, fault: Fault) -> None:
        if len(self._active) >= _MOST:
            raise InvalidArgument(f"There are {_MOST} faults already; remove some first.")
        methods = check_method(fault.method, self._forms)
        check_resource(fault.resource, {each: self._forms[each] for each in methods})
        check_caller(fault.caller, self._callers())
        if fault.status and fault.status not in STATUSES:
            known = ", ".join(str(each) for each in STATUSES)
            raise InvalidArgument(f"status {fault.status} is not one of {known}.")
        if not 0 <= fault.delay <= _LONGEST_DELAY:
            raise InvalidArgument(f"delay {fault.delay} is not between 0 and 600 seconds.")
        if not 1 <= fault.times <= _MOST_TIMES:
            raise InvalidArgument(f"times {fault.times} is not between 1 and {_MOST_TIMES}.")
        now = self._clock.machine()
        if fault.until and not now < fault.until <= now + _LONGEST:
            raise InvalidArgument(f"until {fault.until} is not within the next 10 years.")
        self._check_effect(fault)

    def _check_effect(self, fault: Fault) -> None:
        if fault.outcome not in ("", *OUTCOMES):
            raise InvalidArgument(
                f"outcome {fault.outcome[:60]!r} is not one of {', '.join(OUTCOMES)}."
            )
        method = fault.method.lower()
        if fault.outcome and method != ATTEMPT:
            raise InvalidArgument(f"outcome is for the method {ATTEMPT}, not for {method[:200]}.")
        if method == ATTEMPT and (fault.reset or fault.lose_answer):
            raise InvalidArgument(f"{ATTEMPT} has no connection; give outcome, status or delay.")
        of_delivery = {"duplicate": fault.duplicate, "reorder": fault.reorder}
        for effect, wanted in of_delivery.items():
            if wanted and method != DELIVER:
                raise InvalidArgument(
                    f"{effect} is for the method {DELIVER}, not for {method[:200]}."
                )
        effects = (fault.status, fault.reset, fault.lose_answer, fault.outcome)
        chosen = sum(map(bool, (*effects, *of_delivery.values())))
        if chosen > 1 or not (chosen or fault.delay):
            raise InvalidArgument(
                "A fault needs a delay, or one of status, reset, lose_answer, duplicate, reorder "
                "and outcome."
            )
