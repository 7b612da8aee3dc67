"""Addresses of files in rows: each gets the new DATA_ROOT, and the version of the file that is there.

Rows hold whole URIs, and of what they rely on the version too: a generation of Cloud Storage, or the
digest of a file. Both differ after a move.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import batched
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Concat, Length, Right

from validibot.core.models import Deployment
from validibot.core.storage import get_storage
from validibot.runs.models import Artifact, Attempt, CallbackReceipt, ExportFile, StepRun
from validibot.runs.purge import MARKER
from validibot.setup.moving.places import MediaPlace, PlacedFile, place_of
from validibot.submissions.models import Submission, SubmissionFile
from validibot.workflows.models import StepFile, WeatherFile, WorkflowSchedule

_BATCH = 1000
_SHOWN = 20

# Rows with one file: its address in `uri`, its version in `storage_version`.
OF_ONE_FILE: tuple[Any, ...] = (
    Artifact,
    ExportFile,
    StepFile,
    Submission,
    SubmissionFile,
    WorkflowSchedule,
)
# Addresses of folders and of files that are never read in a version.
WITHOUT_VERSION: tuple[tuple[Any, str], ...] = (
    (Attempt, "bundle_uri"),
    (Attempt, "input_uri"),
    (Attempt, "output_uri"),
    (CallbackReceipt, "result_uri"),
)
# JSON with a list `files` of documents that have `uri` and `storage_version`.
WITH_FILES: tuple[tuple[Any, str], ...] = ((StepRun, "weather"), (WeatherFile, "files"))


@dataclass(slots=True)
class AddressReport:
    """Counts of addresses. `missing` has the first files that rows name and the target lacks.

    `elsewhere` counts addresses below neither root; `example` is one of them.
    """

    changed: int = 0
    missing_count: int = 0
    missing: list[str] = field(default_factory=list)
    elsewhere: int = 0
    example: str = ""

    def add_missing(self, message: str) -> None:
        self.missing_count += 1
        if len(self.missing) < _SHOWN:
            self.missing.append(message)


class AddressChange:
    """The change of all addresses below `old_root` to DATA_ROOT."""

    def __init__(self, old_root: str) -> None:
        self.old_root = old_root.rstrip("/")
        self.target: MediaPlace = place_of(settings.DATA_ROOT)
        self.report = AddressReport()
        self._is_folder = settings.DATA_ROOT.startswith("file:")

    def apply(self, progress: Callable[[str], None]) -> AddressReport:
        """Change every row, in one transaction: an interrupted change has changed nothing.

        A row whose file is missing keeps its old address.
        """
        with transaction.atomic():
            for model in OF_ONE_FILE:
                progress(model.__name__)
                self._change_rows(model)
            for model, name in WITHOUT_VERSION:
                progress(f"{model.__name__}.{name}")
                self._change_column(model, name)
            for model, name in WITH_FILES:
                progress(f"{model.__name__}.{name}")
                self._change_documents(model, name)
        return self.report

    @cached_property
    def _there(self) -> dict[str, PlacedFile]:
        """The files of the target, by path."""
        return {file.path: file for file in self.target.files()}

    def _change_rows(self, model: Any) -> None:
        for rows in batched(self._below(model, "uri").iterator(_BATCH), _BATCH, strict=False):
            changed = []
            for row in rows:
                values = self._moved(vars(row))
                if values:
                    row.uri, row.storage_version = values
                    changed.append(row)
            model.objects.bulk_update(changed, ["uri", "storage_version"])
            self.report.changed += len(changed)
        others = model.objects.exclude(uri="")
        for root in (self.old_root, self.target.root):
            others = others.exclude(uri__startswith=f"{root}/")
        if found := others.count():
            self.report.elsewhere += found
            self.report.example = others.order_by("pk").values_list("uri", flat=True)[0]

    def _change_column(self, model: Any, name: str) -> None:
        """Replace the root in one statement. These addresses consist of ids, which are never quoted."""
        rest = Right(name, Length(F(name)) - len(self.old_root))
        moved = Concat(Value(self.target.root), rest)
        self.report.changed += self._below(model, name).update(**{name: moved})

    def _change_documents(self, model: Any, name: str) -> None:
        rows = model.objects.exclude(**{f"{name}__isnull": True})
        for some in batched(rows.only(name).order_by("pk").iterator(_BATCH), _BATCH, strict=False):
            changed = [row for row in some if self._change_files(getattr(row, name))]
            model.objects.bulk_update(changed, [name])
            self.report.changed += len(changed)

    def _change_files(self, document: Any) -> bool:
        """Change the addresses in a document in place; return whether there was one to change."""
        has_changed = False
        for file in document if isinstance(document, list) else document.get("files", []):
            if file["uri"].startswith(f"{self.old_root}/") and (values := self._moved(file)):
                file["uri"], file["storage_version"] = values
                has_changed = True
        return has_changed

    def _below(self, model: Any, name: str) -> QuerySet[Any]:
        rows: QuerySet[Any] = model.objects.filter(**{f"{name}__startswith": f"{self.old_root}/"})
        return rows.order_by("pk")

    def _moved(self, row: dict[str, Any]) -> tuple[str, str] | None:
        """Return address and version at the target, or None if the file is not there as the row has it.

        A row without a version names a file that was removed.
        """
        path = row["uri"][len(self.old_root) + 1 :]
        path = unquote(path) if self.old_root.startswith("file:") else path
        uri = self.target.uri(path)
        if not row["storage_version"]:
            return uri, ""
        file = self._there.get(path)
        if file is None:
            self.report.add_missing(f"{uri} is missing")
            return None
        if file.size_bytes != row["size_bytes"]:
            self.report.add_missing(
                f"{uri} has {file.size_bytes} bytes, not the {row['size_bytes']} of its row"
            )
            return None
        return uri, self._version(file, uri, row.get("sha256"))

    def _version(self, file: PlacedFile, uri: str, sha256: str | None) -> str:
        """Return the version of a file: of a folder its digest, which the row mostly knows."""
        if not self._is_folder:
            return file.tag
        return f"sha256:{sha256}" if sha256 else get_storage(uri).current(uri) or ""


def open_for_purge() -> None:
    """Name this database as the one that the files at DATA_ROOT belong to."""
    uri = f"{settings.DATA_ROOT}/{MARKER}"
    storage = get_storage(uri)
    storage.delete(uri)
    own = Deployment.objects.get_or_create(id=1)[0].database_id
    storage.create(uri, str(own).encode(), mime_type="text/plain")


def roots_in_use() -> Iterator[str]:
    """Yield a few addresses of rows, from which an operator sees the old DATA_ROOT."""
    for model in OF_ONE_FILE:
        names = model.objects.exclude(uri="").order_by("pk").values_list("uri", flat=True)
        yield from names[:2]
