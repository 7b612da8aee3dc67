"""Command that moves another installation to this one, step by step."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from psycopg.conninfo import make_conninfo

from validators.sdk.storage import StorageError
from validibot.core.models import Maintenance
from validibot.setup.backup import BackupError, check_target, database_tables, unknown_migrations
from validibot.setup.moving import MoveError
from validibot.setup.moving.addresses import AddressChange, open_for_purge, roots_in_use
from validibot.setup.moving.bar import ProgressBar, size_text
from validibot.setup.moving.database import (
    DatabaseServer,
    SourceFacts,
    move_database,
    source_facts,
)
from validibot.setup.moving.drain import drain, waiting
from validibot.setup.moving.journal import MoveJournal
from validibot.setup.moving.media import MediaReport, move_media, totals, would_move
from validibot.setup.moving.places import place_of
from validibot.workflows.images import request_all

_MAX_WORKERS = 64


class Command(BaseCommand):
    help = (
        "Move files, database and addresses of another installation to this one: docs/moving-in.md."
    )
    # The database may be empty, and is replaced.
    requires_migrations_checks = False
    # It may run on a machine that has the new installation's variables and runs no validators.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True)
        media = steps.add_parser("media", help="copy all files to DATA_ROOT")
        _add_media_arguments(media)
        media.add_argument("--dry-run", action="store_true", help="say what would be copied")
        last = steps.add_parser(
            "drain", help="wait until nothing is in progress; needs maintenance"
        )
        last.add_argument("--seconds", type=float, default=600.0)
        database = steps.add_parser(
            "database", help="replace the database; reads the address of the old one from its input"
        )
        database.add_argument(
            "--replace", action="store_true", help="delete the content of this database"
        )
        database.add_argument(
            "--rehearsal", action="store_true", help="the old installation may be in use"
        )
        database.add_argument("--dry-run", action="store_true", help="check both, copy nothing")
        addresses = steps.add_parser("addresses", help="give the rows the new places of files")
        addresses.add_argument(
            "old_root", help="DATA_ROOT of the old installation, as rows have it"
        )
        addresses.add_argument(
            "--allow-missing",
            action="store_true",
            help="accept that files of the old one are lost, or below another root",
        )
        rehearsal = steps.add_parser(
            "rehearse",
            help="database, files and addresses in one go, while the old installation is in use",
        )
        _add_media_arguments(rehearsal)
        rehearsal.add_argument("old_root", help="DATA_ROOT of the old installation")
        rehearsal.add_argument(
            "--replace", action="store_true", help="delete the content of this database"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        steps: dict[str, Callable[[dict[str, Any]], None]] = {
            "media": self._media,
            "drain": self._drain,
            "database": self._database,
            "addresses": self._addresses,
            "rehearse": self._rehearse,
        }
        try:
            steps[options["step"]](options)
        except (MoveError, BackupError, StorageError, OSError) as error:
            raise CommandError(str(error)) from None

    def _media(self, options: dict[str, Any]) -> None:
        source = place_of(options["source"], connections=options["workers"])
        target = place_of(settings.DATA_ROOT)
        if source.root == target.root:
            raise MoveError(f"{source.root} is the DATA_ROOT of this installation already.")
        count, size = totals(source)
        self.stderr.write(f"Files: {count}, {size_text(size)}, from {source.root} to {target.root}")
        if options["dry_run"]:
            self._tell(would_move(source, target), "To copy")
            return
        journal = MoveJournal(options["journal"], source=source.root, target=target.root)
        bar = ProgressBar(sys.stderr, count)

        def progress(report: MediaReport) -> None:
            bar.show(report.done, f"{report.done} files, {size_text(report.copied_bytes)} copied")

        with journal:
            report = move_media(
                source, target, journal, workers=options["workers"], progress=progress
            )
        bar.close()
        self._tell(report, "Copied")

    def _tell(self, report: MediaReport, verb: str) -> None:
        self.stdout.write(
            f"{verb}: {report.copied} of {report.done} files ({size_text(report.copied_bytes)});"
            f" {report.present} were there, {report.failed} failed."
        )
        if report.failed:
            lines = "\n".join(report.failures)
            raise MoveError(f"{lines}\nFiles not moved: {report.failed}. Repeat the command.")

    def _drain(self, options: dict[str, Any]) -> None:
        drain(
            seconds=options["seconds"],
            progress=lambda left: self.stderr.write(f"In progress: {_listed(left)}"),
        )
        self.stdout.write(f"Nothing is in progress. Waiting: {_listed(waiting()) or 'nothing'}.")

    def _database(self, options: dict[str, Any]) -> None:
        if sys.stdin.isatty():
            raise MoveError(
                "Write the address of the old database to standard input: heroku config:get"
                " DATABASE_URL --app NAME | python manage.py move database"
            )
        source = DatabaseServer(sys.stdin.read().strip(), "source")
        target = DatabaseServer(_own_address(), "target")
        facts = source_facts(source)
        self.stderr.write(
            f"Source: PostgreSQL {facts.version}, {len(facts.migrations)} migrations."
            f" Extensions that stay behind: {', '.join(facts.left_out) or 'none'}."
        )
        _check_source(facts, is_rehearsal=options["rehearsal"])
        check_target(database_tables(), replace=options["replace"])
        if options["dry_run"]:
            self.stdout.write("Both databases can be used. Nothing was copied.")
            return
        connections.close_all()
        before, differences = move_database(source, target)
        for name, table in before.tables.items():
            self.stdout.write(f"{name:<50} {table.rows:>10} rows  {table.checksum}")
        if differences:
            raise MoveError(
                "\n".join([*differences, "The copy is not the source. Repeat the move."])
            )
        self.stdout.write(
            f"{len(before.tables)} tables and {len(before.sequences)} sequences are equal."
        )
        call_command("migrate", interactive=False, verbosity=0)
        Maintenance.objects.get_or_create(id=1, defaults={"note": "moving in"})
        root = next(roots_in_use(), "")
        self.stdout.write(
            "Maintenance is on. Next: manage.py move addresses OLD_DATA_ROOT"
            + (f"; a file of the old one is {root}" if root else "")
        )

    def _addresses(self, options: dict[str, Any]) -> None:
        change = AddressChange(options["old_root"])
        if change.old_root == change.target.root:
            self.stdout.write("The files have the addresses of before.")
        else:
            report = change.apply(lambda name: self.stderr.write(f"{name} …"))
            self.stdout.write(
                f"Addresses changed: {report.changed}; files missing: {report.missing_count}; addresses"
                f" elsewhere: {report.elsewhere}."
            )
            lines = "\n".join(report.missing)
            if options["allow_missing"]:
                self.stderr.write(lines)
            elif lines:
                raise MoveError(
                    f"{lines}\nMove the missing files (`move media`), then repeat the command; their"
                    " rows have the old addresses still. --allow-missing accepts the loss."
                )
            elif report.elsewhere:
                raise MoveError(
                    f"{report.elsewhere} addresses are below neither {change.old_root} nor"
                    f" {change.target.root}, such as {report.example}. Repeat `move addresses` with their"
                    " root. --allow-missing leaves them as they are."
                )
        open_for_purge()
        request_all()  # public media were not moved: the sweep has them made again

    def _rehearse(self, options: dict[str, Any]) -> None:
        """Make all steps, and say how long each took.

        The database comes first: the files that its rows name are at the source then.
        """
        place_of(options["source"], connections=options["workers"])  # a wrong name is told at once
        if options["replace"] and "core_maintenance" in database_tables():
            Maintenance.objects.get_or_create(id=1, defaults={"note": "moving in"})
        options |= {"dry_run": False, "rehearsal": True, "allow_missing": False}
        took = []
        for name, step in (
            ("database", self._database),
            ("media", self._media),
            ("addresses", self._addresses),
        ):
            begun = time.monotonic()
            step(options)
            took.append(f"{name} {time.monotonic() - begun:.0f} s")
        self.stdout.write(
            f"Rehearsed: {', '.join(took)}. Next: run the job that sets up the stage (`manage.py setup_all`"
            " elsewhere), then `manage.py maintenance off` and the checks of the installation."
        )


def _add_media_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a folder, s3://BUCKET/PREFIX or gs://BUCKET")
    parser.add_argument("--workers", type=_workers, default=16, help="files at once (16)")
    parser.add_argument(
        "--journal", type=Path, default=Path("move-media.jsonl"), help="what was copied"
    )


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {_MAX_WORKERS}")
    return number


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _own_address() -> str:
    """Return the address of this installation's database as a connection string of libpq."""
    given = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname", "sslmode", "sslrootcert")
    return make_conninfo(**{name: given[name] for name in names if given.get(name)})


def _check_source(facts: SourceFacts, *, is_rehearsal: bool) -> None:
    if unknown := unknown_migrations(facts.migrations):
        raise MoveError(
            f"The source is of a newer version: it has the migrations {', '.join(unknown[:3])}, which"
            " this version lacks. Deploy the same version here first."
        )
    if not facts.is_closed and not is_rehearsal:
        raise MoveError(
            "The old installation is open: what is written there from now on would be lost. Run `manage.py"
            " maintenance on` and `manage.py move drain` there, or rehearse with --rehearsal."
        )
