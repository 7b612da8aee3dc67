"""A whole deployment in one file: its database, and the files below a `file://` DATA_ROOT.

The file is a tar: `manifest.json`, `database.dump` (as pg_dump writes it), `files/…`, and in the end
`sums.json` with the SHA-256 of all of them. Secrets are variables, so none are in it; sessions, which
would let a thief in, are left out. The database is copied first: files are never changed once they are
written, so those that its rows name are all there afterwards.
"""

from validibot.setup.backup.make import backup
from validibot.setup.backup.problems import BackupError
from validibot.setup.backup.restore import restore

__all__ = ["BackupError", "backup", "restore"]
