"""The journal: one line of the log and one queryable row for each call to the emulated cloud.

A row says who called which method on which resource, the permission that was asked for and the
decision, or why none was asked, the answer, its duration, and the fault that struck. Calls of the
console that only read are left out. Rows are written in groups to a
SQLite file of their own, and lines with them, so that a call does not wait for either: the last
moment (0.1 s) before a `kill -9` may be missing. The newest 100,000 rows are kept.
"""

import asyncio
import base64
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from time import perf_counter
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.errors import DeadlineExceeded, ResourceExhausted

KEPT = 100_000
MOST = 1000  # rows in one answer
_LONGEST = 8192  # characters of a text; a name that a client made up may have millions
UNKNOWN = "unknown"  # the decision on a method that is not emulated
OPEN = "open"  # that on a call which needs no permission
# Without a permission, why none was asked: no valid token, a fault, or a request that is refused before.
DECISIONS = ("allowed", "denied", OPEN, "refused", "unauthenticated", "fault", UNKNOWN)
OPERATOR = "console"  # the caller with the token of the control API: the developer
_READING = re.compile(r".*\.(?:get|list|Get|List)(?:[A-Z]\w*)?")
_TRACE = re.compile(r"(?!0{32})[0-9a-fA-F]{32}")
_GROUP = 200
_PAUSE = 0.1  # seconds until a group that is not full is written

# A status is one of HTTP, or the name of one of gRPC; empty if the connection broke.
_FAILED = "status GLOB '[45][0-9][0-9]' OR (status GLOB '[A-Z]*' AND status != 'OK')"
_FIRST = ("method", "caller")  # columns of a trace's first call

log = logging.getLogger("devenv.gcp.requests")


@dataclass(slots=True)
class JournalEntry:
    """A call. `at` is in Unix seconds; `decision` is one of DECISIONS.

    `permission` is the one that decided, and `target` the full name of what it was asked for; `used`
    are all that were allowed, with blanks. `trace` is the id of the trace that the call belongs to:
    32 hexadecimal digits.
    """

    at: float
    method: str
    resource: str = ""
    caller: str = ""
    permission: str = ""
    decision: str = ""
    status: str = ""
    milliseconds: float = 0.0
    fault: str = ""
    target: str = ""
    used: str = ""
    trace: str = ""


_COLUMNS = tuple(field.name for field in fields(JournalEntry))
_row = attrgetter(*_COLUMNS)


def _bounded_row(entry: JournalEntry) -> list[Any]:
    return [each[:_LONGEST] if type(each) is str else each for each in _row(entry)]


FILTERS = ("method", "resource", "caller", "status", "decision", "fault", "trace")
_OFTEN_EMPTY = ("decision", "fault", "trace")
_entry: ContextVar[JournalEntry | None] = ContextVar("journal_entry", default=None)


def note_decision(permission: str, resource: str, *, allowed: bool) -> None:
    """Add to the entry of the call in progress what IAM has decided: first, or against it."""
    entry = _entry.get()
    if entry is None:
        return
    if allowed and not entry.used:
        entry.used = permission
    elif allowed and permission not in entry.used.split():
        entry.used = f"{entry.used} {permission}"
    if not entry.decision or not allowed:
        entry.permission, entry.target = permission, resource
        # The name that the caller wrote stays: faults match it, and are written after the journal.
        entry.resource = entry.resource or resource
        entry.decision = "allowed" if allowed else "denied"


def note_caller(email: str) -> None:
    """Add to the entry of the call in progress the account that a signature shows, not a token."""
    if entry := _entry.get():
        entry.caller = email


def trace_of(headers: Mapping[str, str]) -> str:
    """Return the trace id in lower-cased headers, empty without one.

    https://www.w3.org/TR/trace-context/ and https://cloud.google.com/trace/docs/trace-context; clients of
    gRPC may have `grpc-trace-bin` instead, the binary form of OpenCensus.
    """
    parent = headers.get("traceparent", "").split("-")
    trace = parent[1] if len(parent) > 3 else headers.get("x-cloud-trace-context", "")[:32]
    if not trace:
        trace = _binary_trace(headers.get("grpc-trace-bin", ""))
    return trace.lower() if is_trace(trace) else ""


def _binary_trace(text: str) -> str:
    """Return the trace id of `grpc-trace-bin`, Base64 with or without padding."""
    try:
        data = base64.b64decode(text.partition(",")[0] + "==")
    except ValueError:
        return ""
    # The version, and field 0 with 16 bytes.
    return data[2:18].hex() if len(data) >= 18 and data[:2] == b"\0\0" else ""


def is_trace(text: str) -> bool:
    """Return whether a text is a trace id: 32 hexadecimal digits that are not all zero."""
    return _TRACE.fullmatch(text) is not None


def as_uuid(trace: str) -> str:
    """Return a trace id in the form of a UUID, with hyphens."""
    return "-".join((trace[:8], trace[8:12], trace[12:16], trace[16:20], trace[20:]))


def _without_permission(entry: JournalEntry) -> str:
    """Return the decision on a call at whose end no permission had been asked."""
    status = entry.status
    has_failed = status[:1] in ("4", "5") or (
        status.isupper() and status not in ("OK", "CANCELLED")
    )
    if entry.fault and (has_failed or not status):
        return "fault"
    if status in ("401", "UNAUTHENTICATED"):
        return "unauthenticated"
    return "refused" if has_failed else OPEN


def _status_of_cancellation(error: object) -> str:
    """Return the status that the emulator gave as the reason of a cancellation, or the client's."""
    reasons = error.args if isinstance(error, asyncio.CancelledError) else ()
    known = (DeadlineExceeded.status, ResourceExhausted.status)
    return next((reason for reason in reasons if reason in known), "CANCELLED")


class _Recording:
    """The time of a call, which is added to the journal at its end."""

    __slots__ = ("_add", "_entry", "_start", "_token")

    def __init__(self, entry: JournalEntry, add: Callable[[JournalEntry], None]) -> None:
        self._entry = entry
        self._add = add

    def __enter__(self) -> JournalEntry:
        self._token, self._start = _entry.set(self._entry), perf_counter()
        return self._entry

    def __exit__(self, kind: type[BaseException] | None, error: object, *_: object) -> None:
        if kind in (asyncio.CancelledError, GeneratorExit):
            self._entry.status = _status_of_cancellation(error)
        if not self._entry.decision:
            self._entry.decision = _without_permission(self._entry)
        _entry.reset(self._token)
        self._entry.milliseconds = round((perf_counter() - self._start) * 1000, 1)
        self._add(self._entry)


class Journal:
    """The rows of one emulated cloud, in the file `path`."""

    def __init__(self, path: Path | str, clock: Clock, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._clock = clock
        self._waiting: list[JournalEntry] = []
        self._timer: asyncio.TimerHandle | None = None
        self._rows = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._rows.execute("PRAGMA journal_mode = WAL")
        self._rows.execute("PRAGMA synchronous = OFF")
        columns = ", ".join(_COLUMNS)
        there = [row[1] for row in self._rows.execute("PRAGMA table_info(calls)")]
        if there and there != ["id", *_COLUMNS]:  # of another version: nobody needs its calls
            self._rows.execute("DROP TABLE calls")
        self._rows.execute(f"CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY, {columns})")

    def entry(self, method: str, resource: str = "") -> "_Recording":
        """Record what happens inside; the caller of this sets `caller` and `status`."""
        return _Recording(JournalEntry(self._clock.machine(), method, resource), self._add)

    def add_refusal(self, verb: str, host: str, path: str, status: int) -> None:
        """Add a request that is refused before any service is asked."""
        with self.entry(f"{verb} {path[:200]}", f"{host}{path}"[:500]) as entry:
            entry.status = str(status)

    def rows(
        self, wanted: Mapping[str, str], *, before: int = 0, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the newest rows with an `id` below `before`, at most `limit` of MOST.

        `wanted` holds values of FILTERS; `*` stands for any text. Alone it stands for one that is not
        empty where most calls have none: a decision, a fault, a trace.
        """
        self.flush()
        terms = [f"{name} GLOB ?" for name in wanted]
        values: list[Any] = [
            "?*" if text == "*" and name in _OFTEN_EMPTY else text for name, text in wanted.items()
        ]
        if before:
            terms.append("id < ?")
            values.append(before)
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        sql = f"SELECT id, {', '.join(_COLUMNS)} FROM calls {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - our own names
        found = self._rows.execute(sql, (*values, min(limit, MOST))).fetchall()
        return [dict(zip(("id", *_COLUMNS), row, strict=True)) for row in found]

    def missing(self) -> list[dict[str, Any]]:
        """Return the methods that were asked for and are not emulated, the most used first."""
        self.flush()
        sql = "SELECT method, caller FROM calls WHERE decision = ?"
        counts: Counter[str] = Counter()
        callers: dict[str, set[str]] = {}
        for method, caller in self._rows.execute(sql, (UNKNOWN,)):
            counts[method] += 1
            callers.setdefault(method, set()).add(caller)
        return [
            {"method": method, "calls": calls, "callers": sorted(callers[method] - {""})}
            for method, calls in counts.most_common()
        ]

    def permissions(self) -> dict[str, Counter[str]]:
        """Return how often each caller used each permission."""
        self.flush()
        found: dict[str, Counter[str]] = {}
        sql = "SELECT caller, used, count(*) FROM calls WHERE used != '' GROUP BY caller, used"
        for caller, used, count in self._rows.execute(sql):
            for permission in used.split():
                found.setdefault(caller, Counter())[permission] += count
        return found

    def refused(self) -> list[dict[str, Any]]:
        """Return the refusals of permissions, each with its count, the latest first."""
        self.flush()
        columns = ("caller", "permission", "target", "count", "at", "id")
        sql = (
            "SELECT caller, permission, target, count(*), max(at), max(id) FROM calls "
            "WHERE decision = 'denied' GROUP BY caller, permission, target "
            "ORDER BY max(id) DESC LIMIT ?"
        )
        rows = self._rows.execute(sql, (MOST,)).fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def traces(self, *, before: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return the traces whose last call has an `id` below `before`, the latest first."""
        self.flush()
        columns = ("trace", "at", "ended", "calls", "faults", "failed", "id", "first", *_FIRST)
        # The first call of each trace is looked up for those alone that are returned.
        sql = (
            f"SELECT found.*, {', '.join(_FIRST)} FROM ("  # noqa: S608 - our own names
            "SELECT trace, min(at), max(at + milliseconds / 1000), count(*), count(nullif(fault, '')), "
            f"sum({_FAILED}), max(id) AS last, min(id) AS first "
            "FROM calls WHERE trace != '' GROUP BY trace "
            "HAVING ? = 0 OR max(id) < ? ORDER BY max(id) DESC LIMIT ?"
            ") AS found JOIN calls ON calls.id = first ORDER BY last DESC"
        )
        rows = self._rows.execute(sql, (before, before, min(limit, MOST))).fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def calls_of(self, trace: str) -> list[dict[str, Any]]:
        """Return the calls of a trace in the order of their start, at most MOST.

        Calls belong to it by their trace context, or because they name its id as a UUID: programs
        call their files by it.
        """
        self.flush()
        named = f"*{as_uuid(trace)}*"
        sql = (
            f"SELECT id, {', '.join(_COLUMNS)} FROM calls "  # noqa: S608 - our own names
            "WHERE trace = ? OR resource GLOB ? OR target GLOB ? ORDER BY at, id LIMIT ?"
        )
        found = self._rows.execute(sql, (trace, named, named, MOST)).fetchall()
        return [dict(zip(("id", *_COLUMNS), row, strict=True)) for row in found]

    def flush(self) -> None:
        """Write the rows that wait."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        for entry in waiting:
            name = entry.caller.partition("@")[0] or "-"
            # The path of an unknown method may have line breaks.
            method = entry.method if entry.method.isprintable() else ascii(entry.method)[1:-1]
            log.info("%s %s %s %.1fms", method, name, entry.status, entry.milliseconds)
        marks = ", ".join("?" * len(_COLUMNS))
        with self._rows:  # rolls back what fails, for example on a full disk
            self._rows.execute("BEGIN")
            self._rows.executemany(
                f"INSERT INTO calls ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608
                map(_bounded_row, waiting),
            )
            self._rows.execute(
                "DELETE FROM calls WHERE id <= (SELECT max(id) FROM calls) - ?", (self._kept,)
            )

    def close(self) -> None:
        self.flush()
        self._rows.close()

    def _add(self, entry: JournalEntry) -> None:
        if entry.caller == OPERATOR and _READING.fullmatch(entry.method):
            return  # somebody looks at a page; the journal is about the programs
        self._waiting.append(entry)
        if len(self._waiting) >= _GROUP:
            self._flush_now()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._flush_now)

    def _flush_now(self) -> None:
        """Write the rows that wait. A call is not worse off because its row has no room on the disk."""
        try:
            self.flush()
        except sqlite3.Error as error:
            log.error("Rows of the journal could not be written and are lost: %s", error)  # noqa: TRY400
