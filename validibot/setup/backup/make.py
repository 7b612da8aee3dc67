"""Make a backup, while the deployment goes on."""

import tempfile
from typing import IO

from django.conf import settings
from django.utils import timezone

from validibot.setup.backup import database, files
from validibot.setup.backup.archive import DATABASE, Manifest, Writer


def backup(output: IO[bytes]) -> int:
    """Write a backup; return how many files are in it. Raises BackupError, OSError."""
    folder = files.root()
    manifest = Manifest(
        made_at=timezone.now().isoformat(timespec="seconds"),
        data_root=settings.DATA_ROOT,
        has_files=folder is not None,
        migrations=database.migrations(),
    )
    writer = Writer(output, manifest)
    with tempfile.TemporaryFile() as copy:
        database.dump(copy)
        size = copy.seek(0, 2)
        copy.seek(0)
        writer.add(DATABASE, copy, size)
    if folder:
        files.add_all(folder, writer)
    return writer.close()
