"""Log buckets and their views: what they are called, and the entries that each one has.

`_Default` and `_Required` are there as in every project; the entries of both are the project's own.
A sink stores entries in the other buckets. See https://cloud.google.com/logging/docs/buckets.
"""

import hashlib
import re
from typing import Any, NamedTuple

from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.logging.entries import DAY, LoggingNames
from devenv.gcp.logging.entry_store import IN_BUCKETS, IN_DEFAULT, IN_REQUIRED, LogStore
from devenv.gcp.logging.entry_view import EntryTest, EntryView
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import moment
from devenv.gcp.store import Store

types = client_types("google.cloud.logging_v2")

LogBucket: Any = types.LogBucket.pb()
LogView: Any = types.LogView.pb()
ACTIVE = int(types.LifecycleState.ACTIVE)
DELETE_REQUESTED = int(types.LifecycleState.DELETE_REQUESTED)
ALL_LOGS = "_AllLogs"
DEFAULT, REQUIRED = "_Default", "_Required"
BUILT_IN = (DEFAULT, REQUIRED)
_KEPT_DELETED = 7 * DAY
_DAYS, _REQUIRED_DAYS = 30, 400
# Of each bucket of one's own; there are at most 100.
_MOST_ENTRIES, _MOST_BYTES = 20_000, 16 << 20
_LOCATION = re.compile(r"[a-z]+(-[a-z]+\d+)?")
_AUDIT = " OR ".join(
    f'LOG_ID("cloudaudit.googleapis.com/{each}")'
    for each in ("activity", "system_event", "access_transparency")
)
NOT_AUDIT = " AND ".join(f"NOT {each}" for each in _AUDIT.split(" OR "))
_NO_DATA_ACCESS = 'NOT LOG_ID("cloudaudit.googleapis.com/data_access")'
# Of the sinks that lead to the two buckets.
FILTERS = {DEFAULT: NOT_AUDIT, REQUIRED: _AUDIT}
BITS = {DEFAULT: IN_DEFAULT, REQUIRED: IN_REQUIRED}
_BUILT_IN_TESTS = [(BITS[name], parse_filter(text)) for name, text in FILTERS.items()]


def built_in_route(entry: EntryView) -> int:
    """Return which of the two buckets keeps an entry, as long as no sink was changed."""
    return sum(bit for bit, passes in _BUILT_IN_TESTS if passes(entry))


class LogSource(NamedTuple):
    """Entries to read: those that the buckets `kept` have and that pass the test."""

    entries: LogStore
    test: EntryTest
    kept: int = IN_BUCKETS


class BucketName(NamedTuple):
    """A bucket of the one project."""

    location: str
    bucket: str

    @property
    def key(self) -> str:
        return f"{self.location}/{self.bucket}"


class LogBuckets:
    """The buckets and views of one project, and the entries of the buckets of one's own."""

    def __init__(self, config: CloudConfig, store: Store, clock: Clock, project: LogStore) -> None:
        self._names = LoggingNames(config)
        self._store = store
        self._clock = clock
        self.project = project
        self._records = store.table("log_buckets")
        self._views = store.table("log_views")
        self._entries: dict[str, LogStore] = {}
        self._keep_project()

    def location(self, text: str) -> str:
        """Return the location in `projects/P/locations/L`. Raises CloudError."""
        project, _, location = text.partition("/locations/")
        self._names.project(project)
        if location != "-" and not _LOCATION.fullmatch(location):
            raise InvalidArgument(
                f"{text[:200]!r} must be formatted: projects/PROJECT/locations/LOCATION, where the "
                "location is for example global or us-west1."
            )
        return location

    def name(self, text: str) -> BucketName:
        """Return the bucket in `projects/P/locations/L/buckets/B`. Raises CloudError."""
        parent, _, bucket = text.partition("/buckets/")
        location = self.location(parent)
        if not bucket or "/" in bucket or location == "-":
            raise InvalidArgument(
                f"{text[:200]!r} must be formatted: "
                "projects/PROJECT/locations/LOCATION/buckets/BUCKET."
            )
        return BucketName(location, bucket)

    def full(self, name: BucketName) -> str:
        project = self._names.project_name
        return f"{project}/locations/{name.location}/buckets/{name.bucket}"

    def find(self, name: BucketName) -> Any | None:
        """Return a bucket, None if there is none; one that was deleted a week ago is gone."""
        if name.location == "global" and name.bucket in BUILT_IN:
            return self._built_in(name)
        value = self._records.get(name.key)
        if value is None:
            return None
        bucket = LogBucket.FromString(value)
        deleted_at = moment(bucket.update_time)
        is_deleted = bucket.lifecycle_state == DELETE_REQUESTED
        if is_deleted and self._clock.now() >= deleted_at + _KEPT_DELETED:
            self._purge(name)
            return None
        return bucket

    def all(self, location: str) -> dict[str, Any]:
        """Return the buckets of a location, of all if it is `-`, by their names."""
        keys = (key for key, _ in list(self._records.scan()))
        own = [name for key in keys if (name := BucketName(*key.split("/")))[1] not in BUILT_IN]
        names = (*(BucketName("global", each) for each in BUILT_IN), *own)
        found = ((self.full(name), self.find(name)) for name in names if location in ("-", name[0]))
        return {name: bucket for name, bucket in found if bucket is not None}

    def put(self, name: BucketName, bucket: Any) -> None:
        self._records.put(name.key, bucket.SerializeToString())
        self._entries.pop(name.key, None)
        self._keep_project()

    def views(self, name: BucketName) -> dict[str, Any]:
        """Return the views of a bucket by their ids."""
        every = LogView(name=f"{self.full(name)}/views/{ALL_LOGS}", filter="")
        prefix = f"{name.key}/"
        own = (
            (key.removeprefix(prefix), LogView.FromString(value))
            for key, value in self._views.scan(prefix)
        )
        found = {ALL_LOGS: every, **dict(own)}
        if name.bucket == DEFAULT:
            full = f"{self.full(name)}/views/{DEFAULT}"
            found[DEFAULT] = LogView(name=full, filter=_NO_DATA_ACCESS)
        return found

    def put_view(self, name: BucketName, view_id: str, view: Any) -> None:
        self._views.put(f"{name.key}/{view_id}", view.SerializeToString())

    def delete_view(self, name: BucketName, view_id: str) -> None:
        self._views.delete(f"{name.key}/{view_id}")

    def entries(self, name: BucketName) -> LogStore | None:
        """Return the entries of a bucket of one's own, None for one that takes none."""
        bucket = self.find(name)
        if bucket is None or bucket.lifecycle_state != ACTIVE or name.bucket in BUILT_IN:
            return None
        if name.key not in self._entries:
            self._entries[name.key] = LogStore(
                self._store,
                table=_table(name),
                most_entries=_MOST_ENTRIES,
                most_bytes=_MOST_BYTES,
                retention=bucket.retention_days * DAY,
            )
        return self._entries[name.key]

    def source(self, text: str) -> LogSource:
        """Return the entries of a view, and the test of those that it shows. Raises CloudError.

        Without a view the name of a bucket stands for all its entries.
        """
        parent, _, view_id = text.partition("/views/")
        name = self.name(parent)
        view = self.views(name).get(view_id or ALL_LOGS)
        bucket = self.find(name)
        if bucket is None or bucket.lifecycle_state != ACTIVE or view is None:
            raise NotFound(f"View {text[:200]} does not exist")
        shown = parse_filter(view.filter)
        entries = self.entries(name)
        if entries is not None:
            # The next write may be far away.
            entries.prune(self._clock.now())
            return LogSource(entries, shown)
        self.project.prune(self._clock.now())
        return LogSource(self.project, shown, BITS[name.bucket])

    def _built_in(self, name: BucketName) -> Any:
        """Return one of the two buckets: `_Default` as it was changed, if it was."""
        if (value := self._records.get(name.key)) is not None:
            return LogBucket.FromString(value)
        required = name.bucket == REQUIRED
        return LogBucket(
            name=self.full(name),
            retention_days=_REQUIRED_DAYS if required else _DAYS,
            locked=required,
            lifecycle_state=ACTIVE,
        )

    def _keep_project(self) -> None:
        """Let the project's entries stay for as long as `_Default` says."""
        days = self._built_in(BucketName("global", DEFAULT)).retention_days
        self.project.retention = days * DAY

    def _purge(self, name: BucketName) -> None:
        self._entries.pop(name.key, None)
        self._store.connection.execute(f"DROP TABLE IF EXISTS {_table(name)}")
        for view_id in self.views(name):
            self.delete_view(name, view_id)
        # The last, so that after a crash the next look-up goes on.
        self._records.delete(name.key)


def _table(name: BucketName) -> str:
    return f"log_entries_{hashlib.sha256(name.key.encode()).hexdigest()[:16]}"
