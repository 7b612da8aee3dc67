"""Clones and restores of Cloud SQL instances, exports to Cloud Storage and imports from there.

See https://cloud.google.com/sql/docs/postgres/import-export and
https://cloud.google.com/sql/docs/postgres/clone-instance.
"""

import asyncio
import gzip
import io
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.client_types import client_types
from devenv.gcp.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from devenv.gcp.messages import every, refuse_unemulated
from devenv.gcp.rpc import Rpc
from devenv.gcp.sql.backups import SUCCESSFUL, SqlBackups, SqlParts
from devenv.gcp.sql.methods import INSTANCE, sql_rpc
from devenv.gcp.sql.operations import Operation
from devenv.gcp.sql.records import FAILED, RUNNABLE, Database
from devenv.gcp.sql.server import SUPERUSER, local_name
from devenv.gcp.sql.settings import Instance

sqladmin = client_types("google.cloud.sqladmin_v1")

_SQL, _CSV = 1, 2
_URI = re.compile(r"gs://([a-z0-9._\-]{3,222})/(.+)")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_NEWLINE = "0A"
_MOST_UNPACKED = 512 << 20  # bytes of a file of gzip
_CLONE = every("kind", "destination_instance_name", "destination_project", "preferred_zone")
_RESTORE = every(restore_backup_context=every("kind", "backup_run_id", "instance_id", "project"))
_CSV_FORMAT = ("escape_character", "quote_character", "fields_terminated_by", "lines_terminated_by")
_EXPORT = every(
    *("uri", "databases", "kind", "file_type", "offload"),
    sql_export_options=every("tables", "schema_only", "postgres_export_options", "threads"),
    csv_export_options=every("select_query", *_CSV_FORMAT),
)
_IMPORT = every(
    *("uri", "database", "kind", "file_type", "import_user"),
    sql_import_options=every("threads"),
    csv_import_options=every("table", "columns", *_CSV_FORMAT),
)


class TransferFiles(Protocol):
    """Cloud Storage, as exports and imports use it."""

    def write(
        self, caller: ApiCaller, bucket: str, name: str, data: bytes, content_type: str
    ) -> None:
        """Create an object. Raises CloudError, for one that exists too."""
        ...

    def read(self, caller: ApiCaller, bucket: str, name: str) -> bytes:
        """Return the bytes of an object. Raises CloudError."""
        ...


class SqlTransfers:
    """The methods; `new` completes an instance in creation, `folder` has copies for a moment."""

    def __init__(
        self, parts: SqlParts, backups: SqlBackups, folder: Path, new: Callable[[Any], Any]
    ) -> None:
        self._folder = folder
        self._access, self._records = parts.access, parts.records
        self._operations, self._copy = parts.operations, parts.copy
        self._server, self._programs = parts.server, parts.programs
        self._backups = backups
        self._new = new
        self.files: TransferFiles | None = None

    def rpcs(self) -> Iterator[Rpc]:
        for name, handle, path in (
            ("Clone", self.clone, "clone"),
            ("RestoreBackup", self.restore, "restoreBackup"),
            ("Export", self.export, "export"),
            ("Import", self.import_file, "import"),
        ):
            yield sql_rpc(f"Instances.{name}", Operation, handle, "POST", f"{INSTANCE}/{path}")

    async def clone(self, request: Any, call: ApiCall) -> Any:
        source = self._access.changeable(request, call, "instances.clone")
        context = request.body.clone_context
        if context.pitr_timestamp_ms or context.HasField("point_in_time"):
            raise Unimplemented(
                "Point-in-time recovery is not emulated: without a point in time the clone has the "
                "present state, and backups can be restored."
            )
        refuse_unemulated(context, _CLONE, where="cloneContext")
        made = Instance(
            name=context.destination_instance_name,
            database_version=source.database_version,
            settings=source.settings,
        )
        made = self._new(made)
        self._records.put_instance(made)

        async def work() -> None:
            folder = self._folder / made.name
            try:
                await self._copy.save(source.name, folder)
                await self._copy.load(folder, made.name)
                made.state = RUNNABLE
            except BaseException:
                made.state = FAILED
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                self._records.put_instance(made)
            self._backups.follow()

        return self._operations.begin(call, "CLONE", made.name, work)

    async def restore(self, request: Any, call: ApiCall) -> Any:
        target = self._access.changeable(request, call, "instances.restoreBackup")
        if request.body.backup or request.body.backupdr_backup:
            raise Unimplemented("Only backup runs of instances are emulated: restoreBackupContext.")
        refuse_unemulated(request.body, _RESTORE, where="")
        context = request.body.restore_backup_context
        source = context.instance_id or target.name
        self._access.allow(context.project or request.project, call, "backupRuns.get", source)
        run = self._backups.existing(source, context.backup_run_id)
        if run.status != SUCCESSFUL:
            raise FailedPrecondition(f"The backup run {run.id} was not successful.")
        if run.database_version != target.database_version:
            raise InvalidArgument(
                "The backup is of another version of the database than the instance."
            )

        async def work() -> None:
            await self._copy.load(self._backups.files(run), target.name)

        backup = Operation(backup_context={"kind": "sql#backupContext", "backup_id": run.id})
        return self._operations.begin(call, "RESTORE_VOLUME", target.name, work, backup)

    async def export(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "instances.export")
        context = request.body.export_context
        refuse_unemulated(context, _EXPORT, where="exportContext")
        files, bucket, name = self._place(context.uri)
        if len(context.databases) != 1:
            raise InvalidArgument("exportContext.databases must have exactly one database.")
        database = self._database(instance.name, context.databases[0])
        csv = context.csv_export_options
        if context.file_type not in (_SQL, _CSV):
            raise Unimplemented("exportContext.fileType must be SQL or CSV.")
        if context.file_type == _CSV and not csv.select_query:
            raise InvalidArgument("exportContext.csvExportOptions.selectQuery is required.")
        options = _csv_options(csv)
        self._check_server()

        async def work() -> None:
            if context.file_type == _CSV:
                query = csv.select_query.strip().rstrip(";")
                data = await self._server.copy_out(instance.name, database, query, options)
            else:
                local = local_name(instance.name, database)
                data = await self._programs.dump_sql(local, *_dump_options(context))
            if name.endswith(".gz"):
                data = await asyncio.to_thread(gzip.compress, data, mtime=0)
            kind = "text/csv" if context.file_type == _CSV else "application/octet-stream"
            files.write(_account(instance), bucket, name, data, kind)

        context = _copied(context, "sql#exportContext")
        operation = Operation(export_context=context)
        return self._operations.begin(call, "EXPORT", instance.name, work, operation)

    async def import_file(self, request: Any, call: ApiCall) -> Any:
        instance = self._access.changeable(request, call, "instances.import")
        context = request.body.import_context
        refuse_unemulated(context, _IMPORT, where="importContext")
        files, bucket, name = self._place(context.uri)
        if not context.database:
            raise InvalidArgument("importContext.database is required.")
        database = self._database(instance.name, context.database)
        csv = context.csv_import_options
        if context.file_type not in (_SQL, _CSV):
            raise Unimplemented("importContext.fileType must be SQL or CSV.")
        if context.file_type == _CSV and not csv.table:
            raise InvalidArgument("importContext.csvImportOptions.table is required.")
        options = _csv_options(csv)
        self._check_server()

        async def work() -> None:
            data = files.read(_account(instance), bucket, name)
            if data.startswith(b"\x1f\x8b"):
                data = await asyncio.to_thread(_unpacked, data)
            if context.file_type == _CSV:
                target = _target(csv)
                await self._server.copy_in(instance.name, database, target, options, data)
            else:
                role = local_name(instance.name, context.import_user or SUPERUSER)
                local = local_name(instance.name, database)
                await self._programs.run_sql(local, data, role=role)

        context = _copied(context, "sql#importContext")
        operation = Operation(import_context=context)
        return self._operations.begin(call, "IMPORT", instance.name, work, operation)

    def _place(self, uri: str) -> tuple[TransferFiles, str, str]:
        """Return Cloud Storage with bucket and name of an object. Raises CloudError."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise InvalidArgument(f"uri is {uri[:100]!r}; it must be gs://BUCKET/OBJECT.")
        if self.files is None:
            raise Unimplemented(
                "Exports and imports need the emulated Cloud Storage, and gcp.storage of devenv.toml "
                "names another server."
            )
        return self.files, match[1], match[2]

    def _database(self, instance: str, name: str) -> str:
        if self._records.find(Database, instance, name) is None:
            raise NotFound(f'Invalid request: database "{name[:100]}" does not exist.')
        return name

    def _check_server(self) -> None:
        if not self._server:
            raise FailedPrecondition("There is no PostgreSQL: set gcp.sql_server in devenv.toml.")


def _account(instance: Any) -> ApiCaller:
    """Return the account of an instance, which needs rights on the bucket."""
    return ApiCaller(instance.service_account_email_address)


def _copied(context: Any, kind: str) -> Any:
    made = type(context)()
    made.CopyFrom(context)
    made.kind = kind
    return made


def _dump_options(context: Any) -> list[str]:
    options = context.sql_export_options
    given = ["--schema-only"] if options.schema_only.value else []
    given += [f"--table={table}" for table in options.tables]
    dialect = options.postgres_export_options
    given += ["--clean"] if dialect.clean.value else []
    return given + (["--if-exists"] if dialect.if_exists.value else [])


def _csv_options(options: Any) -> str:
    """Return the options of COPY; characters are given as two hexadecimal digits."""
    lines = options.lines_terminated_by or _NEWLINE
    if lines.upper() != _NEWLINE:
        raise Unimplemented("linesTerminatedBy must be 0A.")
    text = ""
    for word, name in (
        ("ESCAPE", "escape_character"),
        ("QUOTE", "quote_character"),
        ("DELIMITER", "fields_terminated_by"),
    ):
        if not (given := getattr(options, name)):
            continue
        if not _HEX.fullmatch(given):
            raise InvalidArgument(f"{name} is {given[:20]!r}; it must have two hexadecimal digits.")
        text += f", {word} E'\\x{given}'"
    return text


def _target(options: Any) -> str:
    """Return a table, whose schema may be before a dot, with its columns as identifiers."""
    table = ".".join(_quoted(each) for each in options.table.split("."))
    columns = ", ".join(_quoted(each) for each in options.columns)
    return f"{table} ({columns})" if columns else table


def _quoted(name: str) -> str:
    escaped = name.strip('"').replace('"', '""')
    return f'"{escaped}"'


def _unpacked(data: bytes) -> bytes:
    """Return the content of a gzip file, which must fit into memory. Raises InvalidArgument."""
    try:
        with gzip.open(io.BytesIO(data)) as file:
            content = file.read(_MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidArgument(f"The file cannot be unpacked: {error}.") from error
    if len(content) > _MOST_UNPACKED:
        raise InvalidArgument(
            f"The file has more than {_MOST_UNPACKED >> 20} MiB when it is unpacked; import it in parts."
        )
    return content
