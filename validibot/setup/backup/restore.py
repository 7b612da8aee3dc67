"""Put a deployment back to what a backup holds."""

from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from validibot.core import maintenance
from validibot.core.models import Maintenance
from validibot.setup.backup import database, files
from validibot.setup.backup.archive import Manifest, Reader, opened
from validibot.setup.backup.problems import BackupError


def restore(path: Path, *, replace: bool) -> int:
    """Restore; return how many files were missing here. Raises BackupError, OSError.

    Nothing is changed before all is verified; the database comes last, and all at once.
    """
    with opened(path) as archive:
        _check_fit(archive.manifest)
        there = database.tables()
        _check_room(there, replace=replace)
        written = _put_back_files(archive, replace=replace)
        with archive.database() as copy:
            database.put_back(copy)
    call_command("migrate", interactive=False, verbosity=0)
    if there:
        # The backup was made with open doors; whoever shut them opens them again.
        Maintenance.objects.update_or_create(defaults={"note": f"restored from {path.name}"}, id=1)
    return written


def _check_fit(manifest: Manifest) -> None:
    if unknown := database.unknown(manifest.migrations):
        raise BackupError(
            f"This backup is of a newer version: it has seen {', '.join(unknown[:3])}, which this"
            " version does not know. Restore it with the version that made it, or a later one."
        )
    if manifest.data_root != settings.DATA_ROOT:
        raise BackupError(
            f"The rows of this backup name files below {manifest.data_root}, and DATA_ROOT is"
            f" {settings.DATA_ROOT}. Set DATA_ROOT={manifest.data_root}"
        )


def _check_room(tables: Sequence[str], *, replace: bool) -> None:
    if not tables:
        return
    name = settings.DATABASES["default"]["NAME"]
    if not replace:
        raise BackupError(
            f"The database {name} has {len(tables)} tables. Restore into an empty one, or lose"
            " what is in this one: --replace"
        )
    if Maintenance._meta.db_table in tables and not maintenance.is_on():  # noqa: SLF001 - documented
        raise BackupError(
            f"The database {name} is in use. Close the site first: manage.py maintenance on"
        )


def _put_back_files(archive: Reader, *, replace: bool) -> int:
    folder = files.root()
    if folder is None or not archive.manifest.has_files:
        return 0
    return sum(
        files.put_back(folder, name, content, sha256, replace=replace)
        for name, sha256, content in archive.files()
    )
