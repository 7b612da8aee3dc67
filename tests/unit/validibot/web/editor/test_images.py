"""Featured images: what is taken, which public files a task makes of it, and when they are deleted."""

import base64
import datetime as dt
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image

from validibot.accounts.models import Membership
from validibot.core.storage import StorageError, media
from validibot.runs.deletion import delete_organisation
from validibot.runs.sweep import run_sweep
from validibot.workflows import editing, images, links, pictures
from validibot.workflows.models import RemovedMedia, Workflow, WorkflowImage

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def commits() -> Iterator[None]:
    """Have tasks enqueued at once: the tests are inside a transaction."""
    with patch.object(transaction, "on_commit", lambda work, **_: work()):
        yield


def picture(kind: str = "PNG", size: tuple[int, int] = (2400, 900), **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, "teal").save(target, kind, **options)
    return target.getvalue()


# One bit for a pixel: in colours, encoding takes half a second in each process that collects tests.
_bits = io.BytesIO()
Image.new("1", (6000, 5000)).save(_bits, "PNG")
LARGE = _bits.getvalue()
# 3500 by 2001 pixels of one colour.
WIDE_WEBP = base64.b64decode("UklGRhoAAABXRUJQVlA4TA4AAAAvqw30AQcQEf0PRET/Aw==")


def sent(client: Client, base: str, content: bytes, name: str = "office.png") -> str:
    file = SimpleUploadedFile(name, content)
    answer = client.post(f"{base}/image/change/", {"image": file}, follow=True)
    return str(answer.content.decode())


def test_image_is_made_smaller_encoded_anew_and_shown(
    client: Client, base: str, workflow: Workflow, author: Membership
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera of Ada"
    assert "Image saved." in sent(client, base, picture("JPEG", exif=exif))
    _, token = links.create(
        workflow, user=author.user, name="A", lifetime=dt.timedelta(days=1), max_launches=5
    )

    shown = client.get(f"{base}/").content.decode()
    found = re.search(r'srcset="(\S+) 1200w, (\S+) 600w"', shown)
    assert found
    for address, size in zip(found.groups(), ((1200, 450), (600, 225)), strict=True):
        answer = Client().get(address)
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        with Image.open(io.BytesIO(answer.content)) as stored:
            assert (stored.format, stored.size, dict(stored.getexif())) == ("WEBP", size, {})
    assert found[1] in Client().get(f"/launch/{token}/").content.decode()
    row = WorkflowImage.objects.get()
    assert (row.upload, row.requested_at) == (None, None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_turned_photograph_is_upright_in_its_sizes(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the left side is the top
    source, target = Image.new("RGB", (2400, 900), "white"), io.BytesIO()
    source.paste("black", (0, 0, 1200, 900))
    source.save(target, kind, exif=exif)

    (largest, size), (_, small) = pictures.make_sizes(target.getvalue(), is_made=False)

    assert (size, small) == ((225, 600), (112, 300))
    with Image.open(io.BytesIO(largest)) as made:
        grey = made.convert("L")
        assert [grey.getpixel((100, y)) for y in (50, 550)] == [0, 255]


def test_folder_of_media_has_whole_files_only() -> None:
    media.put("whole/a.webp", b"old")
    with (
        patch.object(Path, "replace", side_effect=OSError("away")),
        pytest.raises(StorageError, match="away"),
    ):
        media.put("whole/a.webp", b"new")
    assert media.read("whole/a.webp") == b"old"

    media.put("whole/a.webp", b"new")

    assert media.read("whole/a.webp") == b"new"
    assert default_storage.listdir("whole") == ([], ["a.webp"])


@pytest.mark.parametrize(
    "name", ["x.webp", "..%2f..%2fdatabase-id", f"{'0' * 32}-{'0' * 32}-9.webp"]
)
def test_unknown_public_file_is_not_found(client: Client, name: str) -> None:
    assert client.get(f"/media/featured/{name}").status_code == 404


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "cannot be read as an image"),
        (picture()[:300], "cannot be read as an image"),
        (picture("GIF", (4, 4)), "cannot be read as an image"),
        (picture("WEBP", (4, 4), exif=b"Exif\0\0no TIFF"), "cannot be read as an image"),
        (b"\x89PNG" + b"x" * images.MAX_BYTES, "is larger than 5,242,880 bytes"),
        (LARGE, "has 6000 by 5000 pixels; at most 25,000,000"),
        (WIDE_WEBP, "3500 by 2001 pixels; at most 7,000,000 are taken of a WebP"),
        (b"", "cannot be read as an image"),
    ],
    ids=[
        *("svg", "cut off", "gif", "damaged EXIF", "too many bytes", "too many pixels", "WebP"),
        "empty",
    ],
)
def test_unusable_image_is_refused_and_the_old_one_stays(
    client: Client, base: str, content: bytes, message: str
) -> None:
    sent(client, base, picture(size=(10, 10)))

    shown = sent(client, base, content)

    assert message in shown
    assert WorkflowImage.objects.get().width == 10


def test_damage_that_only_the_task_sees_is_told_on_the_page(client: Client, base: str) -> None:
    sent(client, base, picture(size=(10, 10)))

    shown = sent(client, base, picture("JPEG", size=(900, 900))[:-2000], "cut.jpg")

    assert "cut.jpg cannot be read as an image." in shown
    assert WorkflowImage.objects.get().width == 10


def test_image_waits_until_media_can_be_written(client: Client, base: str) -> None:
    with patch.object(media, "put", side_effect=StorageError("away")):
        waiting = sent(client, base, picture(size=(10, 10)))
        image = WorkflowImage.objects.get()
        with pytest.raises(StorageError):
            images.make_sizes.func(image.pk)
    assert "office.png is being made smaller." in waiting

    WorkflowImage.objects.update(requested_at=timezone.now() - dt.timedelta(minutes=2))
    assert run_sweep()["images"] == 1
    images.make_sizes.func(image.pk)  # a second delivery changes nothing
    assert WorkflowImage.objects.get().sizes
    assert run_sweep()["images"] == 0


def test_files_of_replaced_and_removed_images_are_deleted(
    client: Client, base: str, workflow: Workflow
) -> None:
    sent(client, base, picture(size=(10, 10)))
    first = WorkflowImage.objects.get().address
    editing.rename(workflow, "other")
    base = base.replace("check", "other")
    assert images.image_of(workflow)
    sent(client, base, picture(size=(10, 10)))
    second = WorkflowImage.objects.get().address

    run_sweep()
    assert [Client().get(each).status_code for each in (first, second)] == [404, 200]

    client.post(f"{base}/image/change/", {"action": "remove"})
    sent(client, base, picture(size=(20, 20)))
    third = WorkflowImage.objects.get().address
    workflow.organisation.delete()
    run_sweep()
    assert [Client().get(each).status_code for each in (second, third)] == [404, 404]
    assert not RemovedMedia.objects.exists()


def test_files_made_while_their_image_is_deleted_are_deleted(client: Client, base: str) -> None:
    with patch.object(media, "put", side_effect=StorageError("away")):
        sent(client, base, picture(size=(10, 10)))
    deleted = WorkflowImage.objects.get()
    images.make_sizes.func(deleted.pk)
    kept = WorkflowImage.objects.get().address

    deleted.delete()  # the row as it was before
    images.remove_due(timezone.now() + images.WRITTEN_WITHIN, limit=10)

    assert (Client().get(kept).status_code, RemovedMedia.objects.count()) == (404, 0)


def test_deletion_of_an_organisation_loads_no_content_of_images(
    client: Client, base: str, workflow: Workflow
) -> None:
    sent(client, base, picture(size=(10, 10)))

    with CaptureQueriesContext(connection) as queries:
        delete_organisation.func(workflow.organisation_id)

    made = [each["sql"] for each in queries]
    until = next(n for n, sql in enumerate(made) if 'DELETE FROM "workflows_workflowimage"' in sql)
    assert not [sql for sql in made[:until] if '"workflows_workflowimage"."content"' in sql]


def test_sizes_are_made_again_in_new_media_under_the_same_names(client: Client, base: str) -> None:
    sent(client, base, picture(size=(700, 10)))
    before = WorkflowImage.objects.get()
    for each in before.sizes:
        media.delete(each["name"])
    WorkflowImage.objects.update(upload_name="")  # as an earlier version left it

    images.request_all()
    assert "is being made smaller" not in client.get(f"{base}/edit/").content.decode()
    images.make_sizes.func(before.pk)

    assert WorkflowImage.objects.get().sizes[0] == before.sizes[0]
    assert Client().get(before.address).status_code == 200
