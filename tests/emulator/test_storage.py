"""Cloud Storage through Google's Python client."""

import base64
import gzip
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import Signing
from google.cloud.storage import Bucket, Client, transfer_manager
from google.cloud.storage.exceptions import InvalidResponse
from google.oauth2.credentials import Credentials

from devenv.gcp.caller import AccessBoundary
from tests.emulator.storage_server import BUCKET, CONFIG, Running
from tests.waiting import LIMIT

type Clients = Callable[..., Client]

EIGHT_MIB = 8 * 1024 * 1024
RETRY_NEVER: Any = None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("gcp")) as running:
        yield running


class Signer(Credentials, Signing):
    """A token of an account, and its key for signed URLs."""

    def __init__(self, running: Running, account: str, boundary: AccessBoundary | None) -> None:
        super().__init__(running.token(account, boundary))  # type: ignore[no-untyped-call]
        self._email = CONFIG.email(account)
        self._key = running.identity.blob_key(self._email)

    def sign_bytes(self, message: bytes) -> bytes:
        return self._key.sign(message)

    @property
    def signer_email(self) -> str:
        return self._email

    @property
    def signer(self) -> object:
        return self


@pytest.fixture
def clients(running: Running) -> Clients:
    def make(account: str, boundary: AccessBoundary | None = None) -> Client:
        return Client(
            project=CONFIG.project,
            credentials=Signer(running, account, boundary),
            client_options={"api_endpoint": running.url},
        )

    return make


@pytest.fixture
def bucket(clients: Clients) -> Bucket:
    return clients("web").bucket(BUCKET)


@pytest.fixture
def name() -> str:
    return f"tests/{os.urandom(6).hex()}/ä b"


def test_small_object_is_uploaded_and_downloaded(bucket: Bucket, name: str) -> None:
    blob = bucket.blob(name)
    blob.metadata = {"run": "1"}
    blob.upload_from_string(b"hello", content_type="text/plain")
    found = bucket.get_blob(name)
    assert found is not None
    assert (found.size, found.content_type, found.metadata) == (5, "text/plain", {"run": "1"})
    assert found.download_as_bytes(checksum="md5") == b"hello"
    assert found.download_as_bytes(start=1, end=3) == b"ell"
    assert found.generation == blob.generation


def test_create_only_applies_to_small_large_and_streamed_uploads(bucket: Bucket, name: str) -> None:
    bucket.blob(name).upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(name).upload_from_string(b"second", if_generation_match=0)
    large = io.BytesIO(b"x" * (EIGHT_MIB + 1))
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(name).upload_from_file(large, if_generation_match=0)
    stream = bucket.blob(name).open("wb", if_generation_match=0)
    stream.write(b"third")
    with pytest.raises(InvalidResponse, match="412"):
        stream.close()
    stream._buffer.close()  # else it tries again when it is collected as garbage
    assert bucket.blob(name).download_as_bytes() == b"first"


def test_large_object_is_uploaded_in_chunks(bucket: Bucket, name: str) -> None:
    data = os.urandom(10 * 1024 * 1024)
    blob = bucket.blob(name, chunk_size=1024 * 1024)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0, checksum="crc32c")
    assert blob.size == len(data)
    assert bucket.blob(name).download_as_bytes() == data
    assert bucket.blob(name, chunk_size=3 * 1024 * 1024).download_as_bytes() == data


def test_stream_of_unknown_length_is_uploaded(bucket: Bucket, name: str) -> None:
    with bucket.blob(name, chunk_size=256 * 1024).open("wb", if_generation_match=0) as stream:
        for _ in range(10):
            stream.write(b"y" * 100_000)
    with bucket.blob(name).open("rb") as stream:
        assert stream.read() == b"y" * 1_000_000


@pytest.mark.parametrize("size", [0, 100, EIGHT_MIB + 1])
def test_one_of_many_racing_writers_succeeds(bucket: Bucket, name: str, size: int) -> None:
    def write(writer: int) -> bool:
        data = io.BytesIO(bytes([writer]) * size)
        blob = bucket.blob(name)
        try:
            blob.upload_from_file(data, size=size, if_generation_match=0, retry=RETRY_NEVER)
        except exceptions.PreconditionFailed:
            return False
        return True

    writers = 24 if size <= 100 else 4
    with ThreadPoolExecutor(writers) as pool:
        won = [writer for writer, ok in enumerate(pool.map(write, range(writers))) if ok]
    assert len(won) == 1
    assert bucket.blob(name).download_as_bytes() == bytes(won) * size


def test_preconditions_apply_to_read_delete_patch_and_copy(bucket: Bucket, name: str) -> None:
    blob = bucket.blob(name)
    blob.upload_from_string(b"1")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.reload(if_generation_match=5)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(name).download_as_bytes(if_generation_match=5)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.delete(if_generation_match=5)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=5)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.copy_blob(blob, bucket, name, if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(f"{name}2").rewrite(blob, if_source_generation_match=5)
    assert blob.exists(if_generation_match=blob.generation)


def test_old_generation_is_gone(bucket: Bucket, name: str) -> None:
    blob = bucket.blob(name)
    blob.upload_from_string(b"1")
    old = blob.generation
    assert old is not None
    blob.upload_from_string(b"2")
    assert blob.generation is not None
    assert blob.generation > old
    with pytest.raises(exceptions.NotFound):
        bucket.blob(name, generation=old).download_as_bytes()


def test_list_returns_pages_prefixes_and_offsets(bucket: Bucket, name: str) -> None:
    for index in range(5):
        bucket.blob(f"{name}/{index}/x").upload_from_string(b"")
    listed = bucket.client.list_blobs(bucket, prefix=f"{name}/", page_size=2)
    assert len(list(listed)) == 5
    listed = bucket.client.list_blobs(bucket, prefix=f"{name}/", delimiter="/")
    assert list(listed) == []
    assert len(listed.prefixes) == 5
    late = bucket.client.list_blobs(bucket, prefix=name, start_offset=f"{name}/3")
    assert [blob.name[-3:] for blob in late] == ["3/x", "4/x"]


def test_batch_patches_and_deletes(bucket: Bucket, name: str) -> None:
    blobs = [bucket.blob(f"{name}/{index}") for index in range(3)]
    for blob in blobs:
        blob.upload_from_string(b"x")
    with bucket.client.batch():
        for blob in blobs:
            blob.metadata = {"k": "v"}
            blob.patch()
    found = list(bucket.client.list_blobs(bucket, prefix=name))
    assert [blob.metadata for blob in found] == [{"k": "v"}] * 3
    bucket.delete_blobs(blobs)
    with pytest.raises(exceptions.NotFound), bucket.client.batch():
        blobs[0].delete()


def test_copy_compose_rename_and_delete_succeed(bucket: Bucket, name: str) -> None:
    first, second = bucket.blob(f"{name}/1"), bucket.blob(f"{name}/2")
    first.upload_from_string(b"one ")
    second.upload_from_string(b"two")
    joined = bucket.blob(f"{name}/3")
    joined.compose([first, second], if_generation_match=0)
    assert (joined.download_as_bytes(), joined.component_count) == (b"one two", 2)
    copied = bucket.copy_blob(joined, bucket, f"{name}/4")
    assert copied.crc32c == joined.crc32c
    renamed = bucket.rename_blob(copied, f"{name}/5")
    assert renamed.download_as_bytes() == b"one two"
    bucket.move_blob(renamed, f"{name}/6")
    assert not bucket.blob(f"{name}/5").exists()
    bucket.blob(f"{name}/6").update_storage_class("NEARLINE")
    assert bucket.get_blob(f"{name}/6").storage_class == "NEARLINE"


def test_signed_url_expires_and_is_bound_to_its_method(
    bucket: Bucket, name: str, running: Running
) -> None:
    def sign(method: str, seconds: int = 60, **options: Any) -> str:
        url = bucket.blob(name).generate_signed_url(
            version="v4",
            method=method,
            expiration=timedelta(seconds=seconds),
            api_access_endpoint=running.url,
            **options,
        )
        return str(url)

    put = sign("PUT", content_type="text/csv", headers={"x-goog-if-generation-match": "0"})
    headers = {"content-type": "text/csv", "x-goog-if-generation-match": "0"}
    statuses = [requests.put(put, b"1,2", headers=headers, timeout=LIMIT).status_code for _ in "12"]
    assert statuses == [200, 412]
    assert requests.put(put, b"1,2", timeout=LIMIT).status_code == 403
    get = sign("GET", response_disposition="attachment; filename=a.csv")
    answer = requests.get(get, timeout=LIMIT)
    assert (answer.content, answer.headers["content-type"]) == (b"1,2", "text/csv")
    assert answer.headers["content-disposition"] == "attachment; filename=a.csv"
    assert requests.get(get[:-6] + "000000", timeout=LIMIT).status_code == 403
    assert requests.delete(get, timeout=LIMIT).status_code == 403


def test_resumable_upload_by_signed_url_succeeds(
    bucket: Bucket, name: str, running: Running
) -> None:
    url = bucket.blob(name).generate_signed_url(
        version="v4", method="RESUMABLE", expiration=60, api_access_endpoint=running.url
    )
    begun = requests.post(url, headers={"x-goog-resumable": "start"}, timeout=LIMIT)
    assert begun.status_code == 201
    assert requests.put(begun.headers["location"], b"all", timeout=LIMIT).status_code == 200
    assert bucket.blob(name).download_as_bytes() == b"all"


def test_creator_role_cannot_overwrite(clients: Clients, name: str) -> None:
    blob = clients("validator").bucket(BUCKET).blob(name)
    blob.upload_from_string(b"1", if_generation_match=0)
    assert blob.download_as_bytes() == b"1"
    for forbidden in (lambda: blob.upload_from_string(b"2"), blob.delete, blob.patch):
        with pytest.raises(exceptions.Forbidden, match="does not have storage"):
            forbidden()


def test_downscoped_token_is_limited_to_its_prefix(clients: Clients, name: str) -> None:
    clients("web").bucket(BUCKET).blob(f"{name}/in").upload_from_string(b"1")
    condition = f"resource.name.startsWith('projects/_/buckets/{BUCKET}/objects/{name}/')"
    roles = ("inRole:roles/storage.objectUser",)
    resource = f"//storage.googleapis.com/projects/_/buckets/{BUCKET}"
    small = clients("web", AccessBoundary(((resource, roles, condition),))).bucket(BUCKET)
    assert small.blob(f"{name}/in").download_as_bytes() == b"1"
    small.blob(f"{name}/out").upload_from_string(b"2")
    with pytest.raises(exceptions.Forbidden):
        small.blob(f"{name}x").upload_from_string(b"2")
    with pytest.raises(exceptions.Forbidden):
        list(small.client.list_blobs(small, prefix=f"{name}/"))


def test_buckets_are_created_listed_and_deleted(clients: Clients) -> None:
    client = clients("admin")
    made = client.create_bucket("second-bucket")
    made.labels = {"a": "b"}
    made.patch()
    assert client.get_bucket("second-bucket").labels == {"a": "b"}
    assert {"second-bucket", BUCKET} <= {bucket.name for bucket in client.list_buckets()}
    assert made.test_iam_permissions(["storage.objects.get"]) == ["storage.objects.get"]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("second-bucket")
    made.blob("a").upload_from_string(b"")
    made.delete(force=True)
    assert client.lookup_bucket("second-bucket") is None


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer made-up"}])
def test_missing_or_invalid_token_returns_401(running: Running, header: dict[str, str]) -> None:
    url = f"{running.url}/storage/v1/b/{BUCKET}/o"
    answer = requests.get(url, headers=header, timeout=LIMIT)
    assert answer.status_code == 401
    assert answer.json()["error"]["errors"][0]["location"] == "Authorization"


def test_200_megabytes_are_streamed_in_bounded_memory(
    bucket: Bucket, name: str, running: Running, tmp_path: Path
) -> None:
    source, block = tmp_path / "source", os.urandom(1024 * 1024)
    with source.open("wb") as file:
        for _ in range(200):
            file.write(block)
    before = _peak(running)
    params = {"uploadType": "media", "name": name}
    token = {"authorization": f"Bearer {bucket.client._credentials.token}"}
    url = f"{running.url}/upload/storage/v1/b/{BUCKET}/o"
    with source.open("rb") as file:
        answer = requests.post(url, data=file, params=params, headers=token, timeout=120).json()
    crc32c, size = 0, 0
    with requests.get(answer["mediaLink"], headers=token, stream=True, timeout=120) as download:
        for data in download.iter_content(1024 * 1024):
            crc32c = google_crc32c.extend(crc32c, data)
            size += len(data)
    assert size == 200 * 1024 * 1024
    assert crc32c.to_bytes(4) == base64.b64decode(answer["crc32c"])
    assert _peak(running) - before < 50_000


def _peak(running: Running) -> int:
    """Return how many KiB the server has held in memory at most."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_parallel_upload_of_the_transfer_manager_is_stored(
    bucket: Bucket, name: str, tmp_path: Path
) -> None:
    data = os.urandom(12 * 1024 * 1024)
    (tmp_path / "large").write_bytes(data)
    transfer_manager.upload_chunks_concurrently(
        str(tmp_path / "large"),
        bucket.blob(name),
        chunk_size=5 * 1024 * 1024,
        worker_type=transfer_manager.THREAD,
    )

    assert bucket.blob(name).download_as_bytes() == data


def test_versions_true_of_the_python_client_lists_all_generations(
    clients: Clients, name: str
) -> None:
    client = clients("admin")
    versioned = client.bucket(f"versions-{os.urandom(6).hex()}")
    versioned.versioning_enabled = True
    versioned.create()
    for data in (b"1", b"2"):
        versioned.blob(name).upload_from_string(data)

    assert len(list(client.list_blobs(versioned, versions=True))) == 2


def test_gzip_blob_is_read_plain_or_raw(bucket: Bucket, name: str) -> None:
    blob = bucket.blob(name)
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(b"plain"))

    assert bucket.blob(name).download_as_bytes() == b"plain"
    assert gzip.decompress(bucket.blob(name).download_as_bytes(raw_download=True)) == b"plain"


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_signed_url_of_the_python_client_is_bound_to_its_object(
    bucket: Bucket, running: Running, name: str, version: str
) -> None:
    bucket.blob(name).upload_from_string(b"data")
    url = bucket.blob(name).generate_signed_url(
        timedelta(minutes=1), version=version, api_access_endpoint=running.url
    )

    assert requests.get(url, timeout=LIMIT).content == b"data"
    assert requests.get(url.replace("?", "x?", 1), timeout=LIMIT).status_code == 403
    assert requests.delete(url, timeout=LIMIT).status_code == 403


def test_post_policy_of_client_uploads_a_file(clients: Clients, running: Running) -> None:
    client = clients("web")
    length = ["content-length-range", 1, 100]
    form = client.generate_signed_post_policy_v4(
        BUCKET, "form.txt", expiration=timedelta(minutes=1), conditions=[length]
    )
    files = {"file": ("form.txt", b"hello", "text/plain")}
    stored = requests.post(form["url"], data=form["fields"], files=files, timeout=LIMIT)

    assert (stored.status_code, form["url"]) == (204, f"{running.url}/{BUCKET}/")
    assert client.bucket(BUCKET).blob("form.txt").download_as_bytes() == b"hello"
