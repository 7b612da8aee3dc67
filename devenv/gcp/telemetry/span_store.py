"""Exported spans on disk: found by trace, bounded by count, bytes and age."""

from collections.abc import Iterable
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.store import Store
from devenv.gcp.telemetry.spans import SpanRecord

MOST_SPANS = 50_000
MOST_BYTES = 64 << 20  # of all spans together
RETENTION = 30 * 86_400  # seconds, as Cloud Trace keeps them
_MOST_OF_TRACE = 1000
_PAGE = 100


class SpanStore:
    """The spans of one project. A span that is exported again replaces what was there.

    Programs state the times of a span by the machine's clock; its age is counted on the cloud's.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        most_spans: int = MOST_SPANS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._store, self._clock = store, clock
        self._run = store.connection.execute
        self._most_spans, self._most_bytes = most_spans, most_bytes
        self._run(
            "CREATE TABLE IF NOT EXISTS telemetry_spans (seq INTEGER PRIMARY KEY, trace TEXT,"
            " span TEXT, at REAL, ended REAL, bytes INTEGER, value TEXT, UNIQUE (trace, span))"
        )
        # Each read and each write deletes the spans that are too old.
        self._run("CREATE INDEX IF NOT EXISTS telemetry_spans_ended ON telemetry_spans (ended)")

    def add(self, spans: Iterable[SpanRecord]) -> None:
        """Keep spans in one transaction, and delete those that are too old or too many."""
        with self._store.transaction():
            for span in spans:
                value = span.dump()
                row = (span.trace, span.span, span.at, span.ended, len(value), value)
                self._run(
                    "INSERT OR REPLACE INTO telemetry_spans (trace, span, at, ended, bytes, value)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
            self._prune()

    def of(self, trace: str) -> list[SpanRecord]:
        """Return the spans of a trace in the order of their start, at most 1000."""
        self._delete_old()
        rows = self._run(
            "SELECT value FROM telemetry_spans WHERE trace = ? ORDER BY at, seq LIMIT ?",
            (trace, _MOST_OF_TRACE),
        )
        return [SpanRecord.load(value) for (value,) in rows]

    def traces(self, *, before: int = 0) -> list[dict[str, Any]]:
        """Return the traces whose last span has an `id` below `before`, the latest first.

        Each has `trace`, `at`, `ended`, `spans`, `id`, and `name` and `service` of its first span.
        """
        self._delete_old()
        columns = ("trace", "at", "ended", "spans", "id")
        rows = self._run(
            "SELECT trace, min(at), max(ended), count(*), max(seq) FROM telemetry_spans"
            " GROUP BY trace HAVING ? = 0 OR max(seq) < ? ORDER BY max(seq) DESC LIMIT ?",
            (before, before, _PAGE),
        ).fetchall()
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        for each in found:
            first = self._run(
                "SELECT value FROM telemetry_spans WHERE trace = ? ORDER BY at, seq LIMIT 1",
                (each["trace"],),
            ).fetchone()
            span = SpanRecord.load(first[0])
            each |= {"name": span.name, "service": span.service}
        return found

    def _delete_old(self) -> None:
        oldest = self._clock.machine_at(self._clock.now() - RETENTION)
        self._run("DELETE FROM telemetry_spans WHERE ended < ?", (oldest,))

    def _prune(self) -> None:
        self._delete_old()
        count, size = self._run(
            "SELECT count(*), COALESCE(sum(bytes), 0) FROM telemetry_spans"
        ).fetchone()
        while count > self._most_spans or size > self._most_bytes:
            some = max(count - self._most_spans, count // 100, 1)
            rows = self._run(
                "DELETE FROM telemetry_spans WHERE seq IN"
                " (SELECT seq FROM telemetry_spans ORDER BY seq LIMIT ?) RETURNING bytes",
                (some,),
            ).fetchall()
            count -= len(rows)
            size -= sum(row[0] for row in rows)
