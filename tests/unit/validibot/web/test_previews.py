"""Previews of artifacts, bounded, with HTML in a frame that can do nothing; the report as PDF."""

import gzip
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.downloads import streamed
from tests.factories import ArtifactFactory, RunFactory, StepRunFactory
from validibot.accounts.models import Membership
from validibot.core.storage import get_storage
from validibot.runs.models import Artifact, Run
from validibot.web import previews

pytestmark = pytest.mark.django_db


def artifact(member: Membership, content: bytes, **fields: Any) -> Artifact:
    run = RunFactory.create(workflow__organisation=member.organisation, status="SUCCEEDED")
    uri = f"{settings.DATA_ROOT}/{run.pk}/artifact"
    stored = get_storage(uri).create(uri, content, mime_type="text/plain")
    made: Artifact = ArtifactFactory.create(
        step_run=StepRunFactory.create(run=run, status="PASSED"),
        uri=uri,
        storage_version=stored.version,
        size_bytes=len(content),
        **fields,
    )
    return made


def path(artifact: Artifact, route: str = "preview") -> str:
    run = artifact.run
    return f"/app/orgs/{run.organisation.slug}/runs/{run.pk}/artifacts/{artifact.pk}/{route}/"


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        (("a.json", "application/json", b'{"a":[1]}'), "&quot;a&quot;: [\n    1\n  ]"),
        (
            ("a.json", "application/json", b'{"a": 1e999, "b": {}}'),
            "a&quot;: 1e999,\n  &quot;b&quot;: {}",
        ),
        (("a.json", "application/json", b"[" * 900 + b"1," * 9_000 + b"1" + b"]" * 900), "…"),
        (("a.json", "application/json", b'{"a":'), "{&quot;a&quot;:"),
        (("a.txt", "text/plain", b"<script>alert(1)</script>"), "&lt;script&gt;"),
        (("a.log.gz", "application/gzip", gzip.compress(b"packed text")), "packed text"),
        (("a.csv", "text/csv", b'name,size\n"a,b",2\n'), "<td>a,b</td>"),
        (("a.csv", "text/csv", b'name\n"open'), "open"),
        (("a.txt", "text/plain", b"\0\1"), "This file is not text"),
        (("a.txt.gz", "application/gzip", b"not packed"), "<h1>a.txt.gz</h1>"),
        (("a.sql", "application/vnd.sqlite3", b"SQLite"), "Files of this type cannot be shown"),
    ],
)
def test_preview_shows_file_by_its_type(
    client: Client, member: Membership, file: tuple[str, str, bytes], shown: str
) -> None:
    name, mime_type, content = file
    made = artifact(member, content, name=name, mime_type=mime_type)

    assert shown in client.get(path(made)).content.decode()


def test_preview_of_time_series_has_charts_and_rounded_figures(
    client: Client, member: Membership
) -> None:
    content = b"time [s],speed [m/s]\n0,1\n1,0.9900498337491681\n"
    made = artifact(member, content, mime_type="text/csv", type="timeseries-csv")

    page = client.get(path(made)).content.decode()

    assert "<polyline points=" in page
    assert "<td>0.99005</td>" in page
    assert "<style" not in page
    assert " style=" not in page
    assert f'hx-get="{path(made)}"' in client.get(path(made).split("artifacts")[0]).content.decode()


def test_preview_reads_the_beginning_of_a_large_file(
    client: Client, member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "MAX_BYTES", 1000)
    content = gzip.compress(b"0123456789\n" * 1_000_000)
    made = artifact(member, content, name="a.gz", mime_type="application/gzip")

    page = client.get(path(made)).content.decode()

    assert "this is its beginning" in page
    assert page.count("0123456789") < 100


def test_html_is_shown_in_a_frame_without_rights(client: Client, member: Membership) -> None:
    content = b"<script>alert(1)</script>"
    made = artifact(member, content, name="a.htm", mime_type="text/html")

    page = client.get(path(made)).content.decode()
    frame = client.get(path(made, "framed"))

    assert "<script>alert" not in page
    assert " sandbox" in page
    assert frame.content == content
    assert frame.headers["Content-Security-Policy"] == (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
        " frame-ancestors 'self'"
    )
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert frame.headers["X-Content-Type-Options"] == "nosniff"


def test_only_html_is_framed(client: Client, member: Membership) -> None:
    made = artifact(member, b"<svg/>", mime_type="image/svg+xml")

    assert client.get(path(made, "framed")).status_code == 404


def test_removed_artifact_is_not_found(client: Client, member: Membership) -> None:
    made = artifact(member, b"text", mime_type="text/plain")
    Artifact.objects.update(uri=f"{settings.DATA_ROOT}/none")

    assert client.get(path(made)).status_code == 404


def test_pdf_is_downloaded_once_the_run_has_ended(
    client: Client,
    member: Membership,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run = RunFactory.create(workflow__organisation=member.organisation, status="RUNNING")
    path = f"/app/orgs/{run.organisation.slug}/runs/{run.pk}/export/pdf/"

    early = client.get(path, follow=True)
    Run.objects.filter(pk=run.pk).update(status="SUCCEEDED", ended_at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        client.get(path)
    answer = client.get(path)

    assert (
        "The run has not ended. Download its reports and archive when it has."
        in early.content.decode()
    )
    assert streamed(answer).startswith(b"%PDF-")
    assert answer["Content-Disposition"].endswith(f"run-{run.pk}.pdf")
