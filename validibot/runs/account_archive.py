"""The data of an account as a zip: `account.json`, and `runs.jsonl` with a run per line."""

import json
from collections.abc import Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from zipstream import ZIP_DEFLATED, ZipStream

from validibot.accounts.export import account_document
from validibot.accounts.models import User
from validibot.runs.models import Run

# The newest runs that an archive holds: about 20 MB of JSON.
MAX_RUNS = 50_000
_RUN_FIELDS = (
    *("id", "organisation__slug", "workflow__slug", "workflow__version", "status"),
    *("created_at", "started_at", "ended_at", "credits"),
    *("submission__filename", "submission__size_bytes", "submission__sha256", "submission__name"),
)


def write_account_archive(user: User) -> Iterator[bytes]:
    """Return the zip in chunks; runs are read from the database when their turn comes."""
    archive = ZipStream(compress_type=ZIP_DEFLATED)
    archive.add(_json(account_document(user), indent=2), "account.json")
    archive.add(_run_lines(user), "runs.jsonl")
    return iter(archive)


def _run_lines(user: User) -> Iterator[bytes]:
    runs = Run.objects.filter(user=user).order_by("-created_at")
    for row in runs.values(*_RUN_FIELDS)[:MAX_RUNS].iterator(chunk_size=1000):
        yield _json(row).encode() + b"\n"


def _json(value: Any, *, indent: int | None = None) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=indent)
