"""Command `export_run`: write a run as a file, as its page and the API export it."""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.core.management.base import CommandError

from validibot.core.commands import ReportingCommand
from validibot.core.storage import StorageError
from validibot.runs.bundle import write_bundle
from validibot.runs.exports import FORMATS
from validibot.runs.models import Run

_BUNDLE = "bundle"
# The kind of an output whose name ends so.
_SUFFIXES = {f".{chosen.extension}": kind for kind, chosen in FORMATS.items()} | {".zip": _BUNDLE}


class Command(ReportingCommand):
    help = "Write a report of a run, its findings, or all of it as an evidence bundle, to a file."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN", help="the id of a run that has ended")
        parser.add_argument(
            "--output", type=Path, required=True, metavar="FILE", help="replaced if it exists"
        )
        parser.add_argument(
            "--kind",
            choices=[*FORMATS, _BUNDLE],
            help=f"without it by the end of FILE: {', '.join(_SUFFIXES)}",
        )
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        output: Path = options["output"]
        kind = options["kind"] or _SUFFIXES.get(output.suffix.lower())
        if kind is None:
            raise CommandError(
                f"--output {output} does not end with one of {', '.join(_SUFFIXES)}."
                f" Add --kind with one of {', '.join([*FORMATS, _BUNDLE])}."
            )
        run = _ended_run(str(options["run"]))
        try:
            size, digest = _write(_chunks(run, kind), output)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from None
        except StorageError as error:
            raise CommandError(f"The files of run {run.pk} cannot be read: {error}") from None
        done = {
            "run": str(run.pk),
            "kind": kind,
            "output": str(output),
            "size_bytes": size,
            "sha256": digest,
        }
        self.report(options, done, f"{output}: {size:,} bytes, SHA-256 {digest}")


def _ended_run(text: str) -> Run:
    """Return the run with this id. Raises CommandError unless it exists and has ended."""
    try:
        pk = UUID(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is no id of a run. The page of a run shows it: 36 characters."
        ) from None
    run = Run.objects.select_related("workflow", "submission").filter(pk=pk).first()
    if run is None:
        raise CommandError(f"There is no run {pk}.")
    if run.ended_at is None:
        raise CommandError(f"Run {pk} has not ended ({run.status}). Export it when it has.")
    return run


def _chunks(run: Run, kind: str) -> Iterator[bytes]:
    if kind == _BUNDLE:
        return write_bundle(run)
    return iter([FORMATS[kind].write(run)])


def _write(chunks: Iterator[bytes], output: Path) -> tuple[int, str]:
    """Write the chunks; return (size, SHA-256 in hex). `output` is replaced once all are there."""
    target = output.resolve()
    if target.exists() and not target.is_file():
        raise CommandError(f"{output} is not a file. Name a file for --output.")
    digest = hashlib.sha256()
    size = 0
    # Two exports to the same file at once each have a part of their own.
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            for chunk in chunks:
                size += file.write(chunk)
                digest.update(chunk)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return size, digest.hexdigest()
