"""Uploads by HTML forms with a policy of Google's client."""

import datetime as dt
import time
from typing import Any

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials, Signing
from google.cloud.storage import Client

from tests.unit.devenv.gcp.storage.cloud import BUCKET, StorageCloud, sign

pytestmark = pytest.mark.anyio

SIGNER = "web@p.iam.gserviceaccount.com"
RANGE = ["content-length-range", 2, 10]


class FormSigner(AnonymousCredentials, Signing):
    """Signs as the account of the tests does."""

    def sign_bytes(self, message: bytes) -> bytes:
        return sign(SIGNER, message)

    @property
    def signer_email(self) -> str:
        return SIGNER

    @property
    def signer(self) -> object:
        return self


@pytest.fixture
def now(cloud: StorageCloud) -> StorageCloud:
    """Return the cloud at the time of the machine, which Google's client reads."""
    cloud.clock.lose(cloud.clock.now() - time.time())
    return cloud


def policy(key: str = "in/a.txt", **options: Any) -> dict[str, str]:
    """Return the fields of a form as Google's client signs them."""
    client = Client("p", FormSigner())  # type: ignore[no-untyped-call]
    minute = dt.timedelta(minutes=1)
    signed = client.generate_signed_post_policy_v4(BUCKET, key, expiration=minute, **options)
    assert signed["url"] == f"https://storage.googleapis.com/{BUCKET}/"
    return dict(signed["fields"])


async def post(
    cloud: StorageCloud,
    fields: dict[str, str],
    data: bytes = b"hello",
    *,
    path: str = f"/{BUCKET}/",
) -> httpx.Response:
    files = {"file": ("photo ä.txt", data, "text/plain")}
    return await cloud.without_token("POST", path, data=fields, files=files)


async def test_signed_form_stores_its_file(now: StorageCloud) -> None:
    stored = await post(now, policy())

    assert (stored.status_code, stored.content) == (204, b"")
    assert (await now.read("in/a.txt")).content == b"hello"
    assert (await now.get("in/a.txt")).json()["contentType"] == "text/plain"


async def test_form_fields_set_metadata_and_answer(now: StorageCloud) -> None:
    fields = policy(
        fields={
            "Content-Type": "text/csv",
            "x-goog-meta-colour": "green",
            "success_action_status": "201",
        }
    )
    stored = await post(now, fields | {"x-ignore-this": "x"})

    item = (await now.get("in/a.txt")).json()
    assert stored.status_code == 201
    assert f"<PostResponse><Location>http://storage.googleapis.com/{BUCKET}/in/a.txt" in stored.text
    assert (item["contentType"], item["metadata"]) == ("text/csv", {"colour": "green"})


async def test_form_redirects_with_the_object(now: StorageCloud) -> None:
    target = "https://example.com/done?x=1"
    stored = await post(now, policy(fields={"success_action_redirect": target}))

    assert stored.status_code == 303
    assert stored.headers["location"].startswith(f"{target}&bucket={BUCKET}&key=in%2Fa.txt&etag=")


async def test_filename_takes_its_place_in_the_key(now: StorageCloud) -> None:
    assert (await post(now, policy("photo ä.txt") | {"key": "${filename}"})).status_code == 204
    assert (await now.read("photo ä.txt")).content == b"hello"


async def test_form_on_the_host_of_the_bucket_is_stored(now: StorageCloud) -> None:
    host = f"http://{BUCKET}.storage.googleapis.com/"

    assert (await post(now, policy(), path=host)).status_code == 204


@pytest.mark.parametrize(
    ("data", "code"), [(b"1", "EntityTooSmall"), (b"1" * 11, "EntityTooLarge"), (b"12", "")]
)
async def test_form_limits_the_length_of_its_file(
    now: StorageCloud, data: bytes, code: str
) -> None:
    stored = await post(now, policy(conditions=[RANGE]), data)

    assert stored.status_code == (400 if code else 204)
    assert f"<Code>{code}</Code>" in stored.text if code else not stored.content
    assert now.blobs() == (0 if code else 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": "in/b.txt"}, "InvalidPolicyDocument"),
        ({"colour": "red"}, "InvalidPolicyDocument"),
        ({"x-goog-meta-colour": "red"}, "InvalidPolicyDocument"),
        ({"Content-Type": "text/html"}, "InvalidPolicyDocument"),
        ({"policy": "e30="}, "InvalidPolicyDocument"),
        ({"policy": "%%%"}, "InvalidPolicyDocument"),
        ({"x-goog-signature": "00"}, "SignatureDoesNotMatch"),
        ({"x-goog-signature": "zz"}, "SignatureDoesNotMatch"),
        ({"x-goog-credential": "x"}, "InvalidArgument"),
        ({"x-goog-date": "20200101T000000Z"}, "InvalidArgument"),
        ({"x-goog-algorithm": "none"}, "InvalidArgument"),
        ({"key": ""}, "InvalidPolicyDocument"),
    ],
)
async def test_changed_form_is_refused(
    now: StorageCloud, change: dict[str, str], code: str
) -> None:
    refused = await post(now, policy() | change)

    assert refused.status_code in (400, 403)
    assert f"<Code>{code}</Code>" in refused.text
    assert now.blobs() == 0


async def test_form_of_another_bucket_is_refused(now: StorageCloud) -> None:
    await now.client.post("/storage/v1/b?project=local-project", json={"name": "another-bucket"})

    assert (await post(now, policy(), path="/another-bucket/")).status_code == 400


async def test_expired_form_is_refused(now: StorageCloud) -> None:
    fields = policy()
    await now.clock.turn(3600)  # the client reads the clock of the machine, which goes on

    assert "<Code>ExpiredToken</Code>" in (await post(now, fields)).text


async def test_form_has_the_rights_of_its_signer(now: StorageCloud) -> None:
    now.guard.denied.add("storage.objects.create")

    assert (await post(now, policy())).status_code == 403


async def test_form_without_policy_is_anonymous(now: StorageCloud) -> None:
    assert (await post(now, {"key": "a"})).status_code == 403
    now.guard.public = True
    assert (await post(now, {"key": "a"})).status_code == 204


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "InvalidArgument"),
        (b"--B\r\n", "InvalidArgument"),
        (b'--B\r\nContent-Disposition: form-data; name="key"\r\n\r\na\r\n--B--\r\n', "Incorrect"),
        (b"--B\r\nX: y\r\n\r\na\r\n--B--\r\n", "MalformedPOSTRequest"),
        (b"--B\r\n" + b"x" * 2_000_000, "EntityTooLarge"),
        (
            b"".join(
                b'--B\r\nContent-Disposition: form-data; name="f%d"\r\n\r\na\r\n' % number
                for number in range(102)
            ),
            "MalformedPOSTRequest",
        ),
        (
            b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--B--',
            "InvalidArgument",
        ),
    ],
)
async def test_malformed_form_returns_a_4xx_error(
    cloud: StorageCloud, content: bytes, code: str
) -> None:
    headers = {"content-type": "multipart/form-data; boundary=B"}
    refused = await cloud.client.post(f"/{BUCKET}", content=content, headers=headers)

    assert 400 <= refused.status_code < 500
    assert f"<Code>{code}" in refused.text
    assert cloud.blobs() == 0
