"""The backlog of one subscription: which messages may be delivered now, and which are leased.

A delivered message is leased until its ack deadline. Unless it is acknowledged before, it goes back
and may be delivered again, after the pause of the retry policy. With message ordering, a key has
one batch of messages in delivery at a time, and one that goes back takes the later ones with it.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_TOLERANCE = 1e-6  # seconds by which a clock's float may fall short of a computed moment


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A published message. `body` is a google.pubsub.v1.PubsubMessage.

    `retained_by` is the topic that retains it itself, empty if none does. `holders` counts the
    backlogs, snapshots and topics that keep it.
    """

    number: int
    retained_by: str
    body: Any
    published: float
    size: int
    holders: int = 0


@dataclass(slots=True, eq=False)
class BacklogEntry:
    """A message in a backlog; `attempts` counts its deliveries, `lease` is 0 unless it is leased.

    `moment` is the end of its lease, or the moment from which it may be delivered.
    """

    message: StoredMessage
    attempts: int = 0
    acked: bool = False
    lease: int = 0
    moment: float = 0.0

    @property
    def number(self) -> int:
        return self.message.number


@dataclass(slots=True, eq=False)
class Backlog:
    """The entries by number, those that are acknowledged and kept too.

    `pause` returns the seconds before the next delivery of an entry that was not acknowledged.
    """

    ordered: bool
    pause: Callable[[BacklogEntry], float]
    entries: dict[int, BacklogEntry] = field(default_factory=dict)
    unacked: int = 0
    leased: int = 0
    _ready: list[int] = field(default_factory=list)
    _delayed: list[tuple[float, int]] = field(default_factory=list)
    _leases: list[tuple[float, int, int]] = field(default_factory=list)
    _keys: dict[str, list[int]] = field(default_factory=dict)
    _busy: dict[str, int] = field(default_factory=dict)  # leased entries of each key

    def add(self, entry: BacklogEntry) -> None:
        """Take in an entry; `sort` after one whose number is not the greatest."""
        self.entries[entry.number] = entry
        if not entry.acked:
            self._open(entry)

    def restore(self, entry: BacklogEntry, known: BacklogEntry | None) -> None:
        """Take in an entry with the lease or the pause that the same message has had so far."""
        if known is None or entry.acked or known.acked:
            self.add(entry)
            return
        entry.moment = 0.0 if known.lease else known.moment
        self.add(entry)
        if known.lease > 0:
            self._count_lease(entry, 1)
            self.lease(entry, known.lease, known.moment)

    def sort(self) -> None:
        """Put the entries back into the order of their numbers."""
        self.entries = dict(sorted(self.entries.items()))

    def waiting(self, after: int = 0) -> Iterator[BacklogEntry]:
        """Yield the entries that are not acknowledged and whose number is greater than `after`."""
        for entry in self.entries.values():
            if entry.number > after and not entry.acked:
                yield entry

    def mature(self, now: float) -> None:
        """Let entries be taken whose moment has come."""
        while self._delayed and self._delayed[0][0] <= now + _TOLERANCE:
            heapq.heappush(self._ready, heapq.heappop(self._delayed)[1])

    def take(self, now: float, *, most: int, most_bytes: int) -> list[BacklogEntry]:
        """Return entries that may be delivered, at most `most`; the caller leases each.

        One entry may be larger than `most_bytes`, or it would never be delivered.
        """
        self.mature(now)
        taken: list[BacklogEntry] = []
        while self._ready and len(taken) < most:
            entry = self.entries.get(self._ready[0])
            if entry is None or entry.acked or entry.lease or entry.moment > now + _TOLERANCE:
                heapq.heappop(self._ready)
                continue
            for each in self._batch(entry, most - len(taken)):
                if taken and each.message.size > most_bytes:
                    return taken
                most_bytes -= each.message.size
                if each is entry:
                    heapq.heappop(self._ready)
                self._count_lease(each, 1)
                each.lease = -1  # until the caller sets the number of its lease
                taken.append(each)
        return taken

    def _batch(self, entry: BacklogEntry, most: int) -> list[BacklogEntry]:
        key = self._key(entry)
        if not key:
            return [entry]
        numbers = self._keys[key]
        if numbers[0] != entry.number or key in self._busy:
            heapq.heappop(self._ready)
            return []
        return [self.entries[number] for number in numbers[:most]]

    def lease(self, entry: BacklogEntry, lease: int, until: float) -> None:
        """Give an entry a lease, or a later end of the one that it has."""
        entry.lease, entry.moment = lease, until
        heapq.heappush(self._leases, (until, entry.number, lease))

    def ack(self, entry: BacklogEntry, *, keep: bool) -> None:
        """Acknowledge an entry, and forget it unless it is to be kept."""
        if not entry.acked:
            self._close(entry)
        if not keep:
            self.entries.pop(entry.number, None)

    def reopen(self, entry: BacklogEntry) -> None:
        """Take an acknowledged entry back into delivery."""
        if entry.acked:
            entry.acked, entry.attempts, entry.moment = False, 0, 0.0
            self._open(entry)

    def give_back(self, entry: BacklogEntry, now: float) -> None:
        """End the leases of an entry and of the later ones of its key."""
        key = self._key(entry)
        numbers = self._keys[key] if key else [entry.number]
        later = numbers[bisect_left(numbers, entry.number) :]
        for each in [self.entries[number] for number in later]:
            if each.lease:
                self._count_lease(each, -1)
                each.lease = 0
                each.moment = now + self.pause(each)
        self._offer(entry)

    def expired(self, now: float) -> Iterator[BacklogEntry]:
        """Yield the entries whose lease is over; the caller gives each back."""
        while self._leases and self._leases[0][0] <= now + _TOLERANCE:
            until, number, lease = heapq.heappop(self._leases)
            entry = self.entries.get(number)
            if entry is not None and entry.lease == lease and entry.moment == until:
                yield entry

    def take_back(self, seconds: float) -> None:
        """Let leases and pauses end so much earlier, after the clock has lost these seconds."""
        for entry in self.entries.values():
            entry.moment -= seconds
        # One shift of all keeps the order of a heap.
        self._delayed = [(moment - seconds, number) for moment, number in self._delayed]
        self._leases = [(until - seconds, number, lease) for until, number, lease in self._leases]

    def wake_at(self) -> float | None:
        """Return the moment of the next change that time alone brings."""
        moments = [heap[0][0] for heap in (self._delayed, self._leases) if heap]
        return min(moments, default=None)

    def _key(self, entry: BacklogEntry) -> str:
        return str(entry.message.body.ordering_key) if self.ordered else ""

    def _open(self, entry: BacklogEntry) -> None:
        self.unacked += 1
        if key := self._key(entry):
            insort(self._keys.setdefault(key, []), entry.number)
        self._offer(entry)

    def _close(self, entry: BacklogEntry) -> None:
        entry.acked = True
        self.unacked -= 1
        if entry.lease:
            self._count_lease(entry, -1)
            entry.lease = 0
        if key := self._key(entry):
            numbers = self._keys[key]
            del numbers[bisect_left(numbers, entry.number)]
            if self._keys[key]:
                self._offer(self.entries[self._keys[key][0]])
            else:
                del self._keys[key]

    def _count_lease(self, entry: BacklogEntry, by: int) -> None:
        self.leased += by
        if key := self._key(entry):
            self._busy[key] = self._busy.get(key, 0) + by
            if not self._busy[key]:
                del self._busy[key]

    def _offer(self, entry: BacklogEntry) -> None:
        """Let an entry be taken from its moment on; of a key, the first one."""
        if key := self._key(entry):
            if key in self._busy:
                return
            entry = self.entries[self._keys[key][0]]
        heapq.heappush(self._delayed, (entry.moment, entry.number))
