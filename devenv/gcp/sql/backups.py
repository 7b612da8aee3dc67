"""Backups of Cloud SQL instances: on demand, and each day at the time that an instance's settings name.

See https://cloud.google.com/sql/docs/postgres/backup-recovery/backups.
"""

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import Aborted, NotFound
from devenv.gcp.messages import every, page, refuse_unemulated, set_moment
from devenv.gcp.rpc import Rpc
from devenv.gcp.sql.access import SqlAccess
from devenv.gcp.sql.contents_copy import ContentsCopy
from devenv.gcp.sql.methods import INSTANCE, sql_rpc
from devenv.gcp.sql.operations import Operation, SqlOperations
from devenv.gcp.sql.programs import SqlPrograms
from devenv.gcp.sql.records import RUNNABLE, SqlRecords
from devenv.gcp.sql.server import SqlServer
from devenv.gcp.store import Store

sqladmin = client_types("google.cloud.sqladmin_v1")

BackupRun: Any = sqladmin.BackupRun.pb()
Listed: Any = sqladmin.BackupRunsListResponse.pb()
_ENQUEUED, _RUNNING, FAILED_RUN, SUCCESSFUL = 1, 3, 4, 5
AUTOMATED, ON_DEMAND = 1, 2
_DAY, _RETRY = 86_400.0, 60.0
_MOST_PAGE = 500
_FIELDS = every("description", "instance", "kind", "location", "type_")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SqlParts:
    """The instances, and the server that has their contents."""

    access: SqlAccess
    records: SqlRecords
    operations: SqlOperations
    server: SqlServer
    programs: SqlPrograms
    copy: ContentsCopy


class SqlBackups:
    """The backup runs of all instances; their files are below `folder`."""

    def __init__(self, parts: SqlParts, folder: Path, store: Store, clock: Clock) -> None:
        self._folder = folder
        self._table = store.table("sql_backup_runs")
        self._clock = clock
        self._access, self._records = parts.access, parts.records
        self._operations, self._copy = parts.operations, parts.copy
        self._days: asyncio.Task[None] | None = None

    def rpcs(self) -> Iterator[Rpc]:
        runs = f"{INSTANCE}/backupRuns"
        one = f"{runs}/{{id=*}}"
        yield sql_rpc("BackupRuns.Insert", Operation, self.insert, "POST", runs)
        yield sql_rpc("BackupRuns.Get", BackupRun, self.get, "GET", one)
        yield sql_rpc("BackupRuns.List", Listed, self.list_runs, "GET", runs)
        yield sql_rpc("BackupRuns.Delete", Operation, self.delete, "DELETE", one)

    def start(self) -> None:
        """End what a stop interrupted as failed, and back up each day from now on."""
        for name in self._records.instances():
            for run in self._of(name):
                if run.status in (_ENQUEUED, _RUNNING):
                    self._end(run, FAILED_RUN)
        self.follow()

    async def stop(self) -> None:
        if self._days:
            self._days.cancel()
            await asyncio.gather(self._days, return_exceptions=True)

    def follow(self) -> None:
        """Wait for the next automated backup; the settings of an instance may have changed."""
        if self._days:
            self._days.cancel()
        self._days = asyncio.ensure_future(self._follow_days())

    def forget(self, instance: str) -> None:
        """Delete all backups of an instance, as Google does with it."""
        for run in self._of(instance):
            self._table.delete(_key(instance, run.id))
        shutil.rmtree(self._folder / instance, ignore_errors=True)

    async def insert(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "backupRuns.create")
        refuse_unemulated(request.body, _FIELDS, where="backupRun")
        return self._begin(instance, ON_DEMAND, call=call, description=request.body.description)

    async def get(self, request: Any, call: ApiCall) -> Any:
        self._access.readable(request, call, "backupRuns.get")
        return self.existing(request.instance, request.id)

    async def list_runs(self, request: Any, call: ApiCall) -> Any:
        self._access.readable(request, call, "backupRuns.list")
        # The newest first: sorted by how long they are ago.
        found = {f"{(1 << 62) - run.id:020}": run for run in self._of(request.instance)}
        keys, token = page(
            found, size=request.max_results, token=request.page_token, most=_MOST_PAGE
        )
        items = [found[key] for key in keys]
        return Listed(kind="sql#backupRunsList", items=items, next_page_token=token)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "backupRuns.delete").name
        run = self.existing(instance, request.id)

        async def work() -> None:
            self._drop(run)

        return self._operations.begin(call, "DELETE_BACKUP", instance, work, _context(run.id))

    def existing(self, instance: str, run_id: int) -> Any:
        """Return a backup. Raises NotFound."""
        value = self._table.get(_key(instance, run_id))
        if value is None:
            raise NotFound(f"The backup run {run_id} of the instance {instance} does not exist.")
        return BackupRun.FromString(value)

    def files(self, run: Any) -> Path:
        return self._folder / str(run.instance) / str(run.id)

    def _begin(
        self,
        instance: Any,
        kind: int,
        *,
        call: ApiCall | None = None,
        description: str = "",
        window: float = 0.0,
    ) -> Any:
        """Begin the operation that makes a backup."""
        now = self._clock.now()
        newest = max((each.id for each in self._of(instance.name)), default=0)
        run = BackupRun(
            kind="sql#backupRun",
            id=max(int(now * 1000), newest + 1),
            instance=instance.name,
            type_=kind,
            status=_ENQUEUED,
            description=description,
            location=instance.settings.backup_configuration.location or "us",
            database_version=instance.database_version,
            backup_kind=1,  # SNAPSHOT
        )
        run.self_link = f"{self._access.link(instance.name)}/backupRuns/{run.id}"
        set_moment(run.enqueued_time, now)
        set_moment(run.window_start_time, window or now)
        self._put(run)
        return self._operations.begin(
            call, "BACKUP_VOLUME", instance.name, lambda: self._make(run), _context(run.id)
        )

    async def _make(self, run: Any) -> None:
        run.status = _RUNNING
        set_moment(run.start_time, self._clock.now())
        self._put(run)
        try:
            run.max_chargeable_bytes = await self._copy.save(run.instance, self.files(run))
        except Exception:
            self._end(run, FAILED_RUN)
            raise
        self._end(run, SUCCESSFUL)
        if run.type_ == AUTOMATED:
            self._drop_old(run.instance)

    def _end(self, run: Any, status: int) -> None:
        run.status = status
        set_moment(run.end_time, self._clock.now())
        self._put(run)
        if status == FAILED_RUN:
            shutil.rmtree(self.files(run), ignore_errors=True)

    def _drop_old(self, instance: str) -> None:
        """Keep as many automated backups as the settings say; those on demand stay."""
        backups = self._records.instance(instance).settings.backup_configuration
        kept = backups.backup_retention_settings.retained_backups.value
        automated = [each for each in self._of(instance) if each.type_ == AUTOMATED]
        good = [each for each in automated if each.status == SUCCESSFUL]
        for run in good[kept:]:
            self._drop(run)

    def _drop(self, run: Any) -> None:
        self._table.delete(_key(run.instance, run.id))
        shutil.rmtree(self.files(run), ignore_errors=True)

    async def _follow_days(self) -> None:
        while (due := self._next()) is not None:
            at, names = due
            await self._clock.sleep(at - self._clock.now())
            while names:
                names = [name for name in names if not self._try(name, at)]
                if names:
                    await self._clock.sleep(_RETRY)

    def _next(self) -> tuple[float, list[str]] | None:
        """Return the next moment of an automated backup, and the instances that it is of."""
        now, due = self._clock.now(), dict[float, list[str]]()
        for name, instance in self._records.instances().items():
            backups = instance.settings.backup_configuration
            if backups.enabled.value:
                hours, minutes = backups.start_time.split(":")
                at = now - now % _DAY + int(hours) * 3600 + int(minutes) * 60
                due.setdefault(at if at > now else at + _DAY, []).append(name)
        return min(due.items()) if due else None

    def _try(self, name: str, at: float) -> bool:
        """Begin an automated backup; return False while another operation is in progress.

        It is tried again also where it cannot be written.
        """
        instance = self._records.instances().get(name)
        if instance is None or instance.state != RUNNABLE:
            return True
        try:
            self._operations.check_idle(name)
            self._begin(instance, AUTOMATED, window=at)
        except Aborted:
            return False
        except sqlite3.Error as error:  # on a full disk, for example
            log.warning("%s was not backed up yet: %s", name, error)
            return False
        return True

    def _of(self, instance: str) -> list[Any]:
        """Return the backups of an instance, newest first."""
        found = [BackupRun.FromString(value) for _, value in self._table.scan(f"{instance}/")]
        return sorted(found, key=lambda each: -each.id)

    def _put(self, run: Any) -> None:
        self._table.put(_key(run.instance, run.id), run.SerializeToString())


def _key(instance: str, run_id: int) -> str:
    return f"{instance}/{run_id}"


def _context(run_id: int) -> Any:
    return Operation(backup_context={"kind": "sql#backupContext", "backup_id": run_id})
