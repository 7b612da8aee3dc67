"""Time series on disk: found by metric type, bounded by count of points and age."""

from collections.abc import Iterable
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.store import Store

_types = client_types("google.cloud.monitoring_v3")
TimeSeries: Any = _types.TimeSeries.pb()
Point: Any = _types.Point.pb()

MOST_POINTS = 100_000
_EVER = 2**63 - 1
RETENTION = 730 * 86_400  # seconds: 24 months, as Cloud Monitoring keeps what programs write


class SeriesStore:
    """The time series of one project. A point with the end of another one replaces it.

    Programs state the times of a point by the machine's clock; its age is counted on the cloud's.
    """

    def __init__(self, store: Store, clock: Clock, *, most_points: int = MOST_POINTS) -> None:
        self._store, self._clock = store, clock
        self._run = store.connection.execute
        self._most = most_points
        # A header is a TimeSeries without points: metric, resource, kind and type of values.
        self._run(
            "CREATE TABLE IF NOT EXISTS monitoring_points (seq INTEGER PRIMARY KEY, type TEXT,"
            " header BLOB, ended INTEGER, value BLOB, UNIQUE (type, header, ended))"
        )
        # Each read and each write deletes the points that are too old.
        self._run("CREATE INDEX IF NOT EXISTS monitoring_points_ended ON monitoring_points (ended)")

    def add(self, series: Iterable[Any]) -> None:
        """Keep the points of series in one transaction, and delete the old and the too many."""
        with self._store.transaction():
            for each in series:
                header = TimeSeries()
                header.CopyFrom(each)
                header.ClearField("points")
                key = header.SerializeToString(deterministic=True)
                for point in each.points:
                    self._run(
                        "INSERT OR REPLACE INTO monitoring_points (type, header, ended, value)"
                        " VALUES (?, ?, ?, ?)",
                        (
                            *(each.metric.type, key, point.interval.end_time.ToNanoseconds()),
                            point.SerializeToString(),
                        ),
                    )
            self._delete_old()
            self._run(
                "DELETE FROM monitoring_points WHERE seq <="
                " (SELECT seq FROM monitoring_points ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (self._most,),
            )

    def headers(self, metric: str = "") -> list[Any]:
        """Return the series of a metric type, of all without one, without their points."""
        self._delete_old()
        rows = self._run(
            "SELECT DISTINCT type, header FROM monitoring_points WHERE ? IN ('', type)"
            " ORDER BY type, header",
            (metric,),
        )
        return [TimeSeries.FromString(header) for _, header in rows]

    def points(self, header: Any, *, since: int, until: int, limit: int = -1) -> list[bytes]:
        """Return the points of a series that end in `[since, until]` (nanoseconds), newest first."""
        rows = self._run(
            "SELECT value FROM monitoring_points WHERE type = ? AND header = ?"
            " AND ended BETWEEN ? AND ? ORDER BY ended DESC LIMIT ?",
            (header.metric.type, header.SerializeToString(deterministic=True), since, until, limit),
        )
        return [value for (value,) in rows]

    def newest(self, header: Any) -> Any | None:
        """Return the point of a series with the latest end, None if it has no points."""
        found = self.points(header, since=0, until=_EVER, limit=1)
        return Point.FromString(found[0]) if found else None

    def delete(self, metric: str) -> None:
        """Delete all series of a metric type."""
        self._run("DELETE FROM monitoring_points WHERE type = ?", (metric,))

    def _delete_old(self) -> None:
        oldest = self._clock.machine_at(self._clock.now() - RETENTION)
        self._run("DELETE FROM monitoring_points WHERE ended < ?", (int(oldest * 1e9),))
