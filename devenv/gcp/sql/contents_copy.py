"""Databases and users of an instance as files, for backups, restores and clones.

Without a server behind the instances the files are empty: names alone are copied.
"""

import json
import shutil
from pathlib import Path

from devenv.gcp.sql.contents import InstanceContents
from devenv.gcp.sql.programs import SqlPrograms
from devenv.gcp.sql.records import Database, SqlRecords, User
from devenv.gcp.sql.server import SUPERUSER, SqlServer, local_name

_CONTENTS = "contents.json"


class ContentsCopy:
    """Writes the contents of an instance into a folder, and puts them into an instance."""

    def __init__(
        self,
        records: SqlRecords,
        contents: InstanceContents,
        server: SqlServer,
        programs: SqlPrograms,
    ) -> None:
        self._records = records
        self._contents = contents
        self._server = server
        self._programs = programs

    async def save(self, instance: str, folder: Path) -> int:
        """Write databases and users with their passwords' hashes; return the size. Raises CloudError."""
        _empty(folder)
        databases = list(self._records.below(Database, instance))
        users = [each.name for each in self._records.below(User, instance)]
        if self._server:
            for index, each in enumerate(databases):
                await self._programs.dump(local_name(instance, each.name), _file(folder, index))
        hashes = {name: await self._server.password_hash(instance, name) for name in users}
        text = json.dumps(
            {
                "instance": instance,
                "databases": [[each.name, each.collation] for each in databases],
                "users": hashes,
            }
        )
        # The last, so that a folder without it is no copy.
        (folder / _CONTENTS).write_text(text)
        return _size(folder)

    async def load(self, folder: Path, instance: str) -> None:
        """Give an instance the databases and users of a copy instead of its own. Raises CloudError."""
        saved = json.loads((folder / _CONTENTS).read_text())
        await self._server.create_instance(instance)
        for name, password in saved["users"].items():
            await self._server.put_user(instance, name, password)
            self._contents.keep_user(instance, name)
        for each in list(self._records.below(Database, instance)):
            await self._server.drop_database(instance, each.name)
            self._records.delete(Database, instance, each.name)
        # Users of another instance have other names in the server.
        source, users = saved["instance"], (SUPERUSER, *saved["users"])
        roles = {local_name(source, each): local_name(instance, each) for each in users}
        renamed = None if source == instance else roles
        for index, (name, collation) in enumerate(saved["databases"]):
            await self._server.create_database(instance, name)
            if self._server:
                local = local_name(instance, name)
                await self._programs.restore(local, _file(folder, index), roles=renamed)
            self._contents.keep_database(instance, name, collation)
        for each in list(self._records.below(User, instance)):
            if each.name not in saved["users"]:
                await self._server.drop_user(instance, each.name)
                self._records.delete(User, instance, each.name)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index}.dump"
