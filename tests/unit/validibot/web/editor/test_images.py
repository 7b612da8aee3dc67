"""Featured images: what is taken, what is stored, and where it is shown."""

import datetime as dt
import io
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from validibot.accounts.models import Membership
from validibot.workflows import editing, images, links
from validibot.workflows.models import Workflow, WorkflowImage

pytestmark = pytest.mark.django_db


def picture(kind: str = "PNG", size: tuple[int, int] = (2400, 900), **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, "teal").save(target, kind, **options)
    return target.getvalue()


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

    answer = client.get(f"{base}/image/")
    public = Client().get(f"/launch/{token}/image/")

    assert (answer.headers["Content-Type"], public.content) == ("image/webp", answer.content)
    with Image.open(io.BytesIO(answer.content)) as stored:
        assert (stored.format, stored.size, dict(stored.getexif())) == ("WEBP", (1200, 450), {})
    assert f"/launch/{token}/image/" in Client().get(f"/launch/{token}/").content.decode()
    assert f"{base}/image/" in client.get(f"{base}/").content.decode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "cannot be read as an image"),
        (picture()[:300], "cannot be read as an image"),
        (picture("GIF", (4, 4)), "cannot be read as an image"),
        (picture("WEBP", (4, 4), exif=b"Exif\0\0no TIFF"), "cannot be read as an image"),
        (b"\x89PNG" + b"x" * images.MAX_BYTES, "is larger than 5,242,880 bytes"),
        (picture(size=(6000, 5000)), "has 6000 by 5000 pixels; at most 25,000,000"),
        (b"", "cannot be read as an image"),
    ],
    ids=["svg", "cut off", "gif", "damaged EXIF", "too many bytes", "too many pixels", "empty"],
)
def test_unusable_image_is_refused_and_the_old_one_stays(
    client: Client, base: str, content: bytes, message: str
) -> None:
    sent(client, base, picture(size=(10, 10)))

    shown = sent(client, base, content)

    assert message in shown
    assert WorkflowImage.objects.get().width == 10


def test_image_follows_its_workflow(client: Client, base: str, workflow: Workflow) -> None:
    sent(client, base, picture(size=(10, 10)))
    editing.rename(workflow, "other")
    assert images.image_of(workflow)

    client.post(f"{base.replace('check', 'other')}/image/change/", {"action": "remove"})
    assert not WorkflowImage.objects.exists()
    assert client.get(f"{base.replace('check', 'other')}/image/").status_code == 404
    sent(client, base.replace("check", "other"), picture(size=(10, 10)))
    editing.delete(workflow)
    assert not WorkflowImage.objects.exists()


def test_image_of_a_revoked_link_is_not_shown(
    client: Client, base: str, workflow: Workflow, author: Membership
) -> None:
    sent(client, base, picture(size=(10, 10)))
    link, token = links.create(
        workflow, user=author.user, name="A", lifetime=dt.timedelta(days=1), max_launches=5
    )
    links.revoke(link, user=author.user)

    assert Client().get(f"/launch/{token}/image/").status_code == 404
