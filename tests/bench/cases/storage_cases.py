"""Cloud Storage by Google's Python client, against whatever STORAGE_EMULATOR_HOST or a proxy leads to."""

import gzip
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import Request
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.oauth2 import service_account

from tests.bench.cases.guest import GUEST, credentials
from tests.waiting import until

type Case = Callable[[Any, Any], object]
_READER = "roles/storage.objectViewer"


def text_is_read_back(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("hello", content_type="text/plain")
    blob = bucket.get_blob("a")
    assert (blob.download_as_text(), blob.content_type, blob.size) == ("hello", "text/plain", 5)


def second_create_is_refused(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("1", if_generation_match=0)
    _refused(
        exceptions.PreconditionFailed,
        bucket.blob("a").upload_from_string,
        "2",
        if_generation_match=0,
    )
    assert bucket.blob("a").download_as_text() == "1"


def folders_are_listed_as_prefixes(client: Any, bucket: Any) -> None:
    for name in ("a.txt", "d/b.txt", "d/c.txt"):
        bucket.blob(name).upload_from_string("x")
    page = client.list_blobs(bucket, delimiter="/")
    assert [blob.name for blob in page] == ["a.txt"]
    assert set(page.prefixes) == {"d/"}


def glob_selects_names(client: Any, bucket: Any) -> None:
    for name in ("a.txt", "b.csv", "d/c.txt"):
        bucket.blob(name).upload_from_string("x")
    found = client.list_blobs(bucket, match_glob="**.txt")
    assert {blob.name for blob in found} == {"a.txt", "d/c.txt"}


def list_has_pages(client: Any, bucket: Any) -> None:
    for number in range(5):
        bucket.blob(str(number)).upload_from_string("x")
    pages = list(client.list_blobs(bucket, page_size=2).pages)
    assert [len(list(page)) for page in pages] == [2, 2, 1]


def resumable_upload_in_chunks(_client: Any, bucket: Any) -> None:
    data = os.urandom(3 << 20)
    blob = bucket.blob("large", chunk_size=1 << 20)
    with blob.open("wb") as file:
        file.write(data)
    assert bucket.blob("large").download_as_bytes() == data


def range_is_downloaded(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("0123456789")
    assert bucket.blob("a").download_as_bytes(start=2, end=4) == b"234"


def parts_are_uploaded_in_parallel(_client: Any, bucket: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large"
        path.write_bytes(os.urandom(11 << 20))
        transfer_manager.upload_chunks_concurrently(
            str(path), bucket.blob("a"), chunk_size=5 << 20, worker_type="thread"
        )
        assert bucket.blob("a").download_as_bytes() == path.read_bytes()


def objects_are_composed(_client: Any, bucket: Any) -> None:
    for name in ("a", "b"):
        bucket.blob(name).upload_from_string(name)
    bucket.blob("c").compose([bucket.blob("a"), bucket.blob("b")])
    blob = bucket.get_blob("c")
    assert (blob.download_as_text(), blob.component_count) == ("ab", 2)


def copy_keeps_metadata(_client: Any, bucket: Any) -> None:
    blob = bucket.blob("a")
    blob.metadata = {"k": "v"}
    blob.upload_from_string("x")
    bucket.copy_blob(blob, bucket, "b")
    assert bucket.get_blob("b").metadata == {"k": "v"}


def patch_counts_metagenerations(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("x")
    blob = bucket.get_blob("a")
    blob.metadata = {"k": "v"}
    blob.patch(if_metageneration_match=blob.metageneration)
    assert blob.metageneration == 2
    _refused(exceptions.PreconditionFailed, blob.patch, if_metageneration_match=1)


def versions_are_kept(client: Any, bucket: Any) -> None:
    bucket.versioning_enabled = True
    bucket.patch()
    for text in ("1", "2"):
        bucket.blob("a").upload_from_string(text)
    first, _ = sorted(client.list_blobs(bucket, versions=True), key=lambda blob: blob.generation)
    assert bucket.blob("a", generation=first.generation).download_as_text() == "1"


def retention_refuses_deletion(_client: Any, bucket: Any) -> None:
    bucket.retention_period = 1000
    bucket.patch()
    bucket.blob("a").upload_from_string("x")
    _refused(exceptions.Forbidden, bucket.blob("a").delete)


def hold_refuses_deletion(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("x")
    blob = bucket.get_blob("a")
    blob.temporary_hold = True
    blob.patch()
    _refused(exceptions.Forbidden, blob.delete)


def wrong_checksum_is_refused(_client: Any, bucket: Any) -> None:
    blob = bucket.blob("a")
    blob.md5_hash = "AAAAAAAAAAAAAAAAAAAAAA=="
    _refused(exceptions.BadRequest, blob.upload_from_string, "hello", checksum=None)
    assert not bucket.blob("a").exists()


def gzip_is_decompressed_for_others(client: Any, bucket: Any) -> None:
    blob = bucket.blob("a")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(b"hello"))
    url = f"{client._connection.API_BASE_URL}/download/storage/v1/b/{bucket.name}/o/a?alt=media"
    answer = client._http.get(url, headers={"Accept-Encoding": "identity"})
    assert answer.content == b"hello"


def batch_deletes_several(client: Any, bucket: Any) -> None:
    for name in ("a", "b"):
        bucket.blob(name).upload_from_string("x")
    with client.batch():
        for name in ("a", "b"):
            bucket.blob(name).delete()
    assert not list(client.list_blobs(bucket))


def missing_object_is_404(_client: Any, bucket: Any) -> None:
    _refused(exceptions.NotFound, bucket.blob("a").delete)
    _refused(exceptions.NotFound, bucket.blob("a").download_as_bytes)


def full_bucket_is_not_deleted(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("x")
    _refused(exceptions.Conflict, bucket.delete)


def wrong_token_is_refused(client: Any, bucket: Any) -> None:
    url = f"{client._connection.API_BASE_URL}/storage/v1/b/{bucket.name}/o"
    answer = requests.get(url, headers={"Authorization": "Bearer nonsense"}, timeout=10)
    assert answer.status_code == 401


def account_without_role_is_refused(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("x")
    theirs = _of_guest(bucket)
    _refused(exceptions.Forbidden, theirs.blob("a").download_as_bytes)
    _refused(exceptions.Forbidden, theirs.blob("b").upload_from_string, "x")


def role_on_a_bucket_admits_reading_alone(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("x")
    _grant(bucket, {"role": _READER, "members": {GUEST}})
    theirs = _of_guest(bucket)
    assert theirs.blob("a").download_as_text() == "x"
    _refused(exceptions.Forbidden, theirs.blob("b").upload_from_string, "x")


def condition_limits_a_role_to_a_prefix(_client: Any, bucket: Any) -> None:
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.patch()
    for name in ("in/a", "out/a"):
        bucket.blob(name).upload_from_string("x")
    prefix = f"projects/_/buckets/{bucket.name}/objects/in/"
    condition = {"title": "in", "expression": f'resource.name.startsWith("{prefix}")'}
    _grant(bucket, {"role": _READER, "members": {GUEST}, "condition": condition})
    theirs = _of_guest(bucket)
    assert theirs.blob("in/a").download_as_text() == "x"
    _refused(exceptions.Forbidden, theirs.blob("out/a").download_as_bytes)


def taken_back_role_ends_at_once(_client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("x")
    _grant(bucket, {"role": _READER, "members": {GUEST}})
    theirs = _of_guest(bucket)
    assert theirs.blob("a").download_as_text() == "x"
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings = [each for each in policy.bindings if GUEST not in each["members"]]
    bucket.set_iam_policy(policy)
    _refused(exceptions.Forbidden, theirs.blob("a").download_as_bytes)


def account_is_told_what_it_may_do(_client: Any, bucket: Any) -> None:
    _grant(bucket, {"role": _READER, "members": {GUEST}})
    asked = ["storage.objects.get", "storage.objects.delete"]
    assert _of_guest(bucket).test_iam_permissions(asked) == ["storage.objects.get"]


def signed_url_reads_an_object(client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("hello")
    assert requests.get(_signed(client, bucket, 60), timeout=10).text == "hello"


def forged_signed_url_is_refused(client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("hello")
    url = _signed(client, bucket, 60)
    forged = url[:-8] + ("00000000" if url[-8:] != "00000000" else "11111111")
    assert requests.get(url, timeout=10).status_code == 200
    assert requests.get(forged, timeout=10).status_code == 403
    assert requests.delete(url, timeout=10).status_code == 403


def expired_signed_url_is_refused(client: Any, bucket: Any) -> None:
    bucket.blob("a").upload_from_string("hello")
    url = _signed(client, bucket, 3)  # of whole seconds: one of them may be over at once
    assert requests.get(url, timeout=10).status_code == 200
    until(lambda: requests.get(url, timeout=10).status_code == 400, seconds=10)


def deleted_object_is_restored(client: Any, bucket: Any) -> None:
    bucket.soft_delete_policy.retention_duration_seconds = 7 * 86_400
    bucket.patch()
    bucket.blob("a").upload_from_string("x")
    bucket.blob("a").delete()
    [gone] = client.list_blobs(bucket, soft_deleted=True)
    bucket.restore_blob("a", generation=gone.generation)
    assert bucket.blob("a").download_as_text() == "x"


def rules_of_lifecycle_are_kept(client: Any, bucket: Any) -> None:
    bucket.add_lifecycle_delete_rule(age=1, matches_prefix=["tmp/"])
    bucket.patch()
    [rule] = client.get_bucket(bucket.name).lifecycle_rules
    assert rule == {
        "action": {"type": "Delete"},
        "condition": {"age": 1, "matchesPrefix": ["tmp/"]},
    }


def list_of_access_admits_everybody(client: Any, bucket: Any) -> None:
    bucket.iam_configuration.uniform_bucket_level_access_enabled = False
    bucket.patch()
    blob = bucket.blob("a")
    blob.upload_from_string("x")
    url = f"{client._connection.API_BASE_URL}/storage/v1/b/{bucket.name}/o/a?alt=media"
    assert requests.get(url, timeout=10).status_code == 401
    blob.make_public()
    assert requests.get(url, timeout=10).text == "x"


CASES: tuple[Case, ...] = (
    *(
        text_is_read_back,
        second_create_is_refused,
        folders_are_listed_as_prefixes,
        glob_selects_names,
    ),
    *(
        list_has_pages,
        resumable_upload_in_chunks,
        range_is_downloaded,
        parts_are_uploaded_in_parallel,
    ),
    *(objects_are_composed, copy_keeps_metadata, patch_counts_metagenerations, versions_are_kept),
    *(retention_refuses_deletion, hold_refuses_deletion, wrong_checksum_is_refused),
    *(gzip_is_decompressed_for_others, batch_deletes_several, missing_object_is_404),
    *(full_bucket_is_not_deleted, wrong_token_is_refused, account_without_role_is_refused),
    *(role_on_a_bucket_admits_reading_alone, condition_limits_a_role_to_a_prefix),
    *(taken_back_role_ends_at_once, account_is_told_what_it_may_do, signed_url_reads_an_object),
    *(forged_signed_url_is_refused, expired_signed_url_is_refused, deleted_object_is_restored),
    *(rules_of_lifecycle_are_kept, list_of_access_admits_everybody),
)


def attempt(case: Case) -> None:
    """Try one case in a bucket of its own."""
    client = storage.Client(project="test-project")
    case(client, client.create_bucket(f"case-{uuid.uuid4().hex[:12]}"))


def _signed(client: Any, bucket: Any, seconds: int) -> str:
    """Return a signed URL of the object `a`; where nobody has a key, one of a key that we make."""
    base = client._connection.API_BASE_URL
    signer: dict[str, Any] = {}
    if isinstance(client._credentials, AnonymousCredentials):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        info = {
            "client_email": "app@test-project.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
            "private_key": text.decode(),
        }
        signer["credentials"] = service_account.Credentials.from_service_account_info(info)  # type: ignore[no-untyped-call]
    else:
        client._credentials.refresh(Request())
        signer["service_account_email"] = client._credentials.service_account_email
        signer["access_token"] = client._credentials.token
    url: str = bucket.blob("a").generate_signed_url(
        version="v4", expiration=seconds, api_access_endpoint=base, **signer
    )
    return url


def _of_guest(bucket: Any) -> Any:
    """Return the bucket as an account without roles sees it."""
    client = storage.Client(project="test-project", credentials=credentials())
    return client.bucket(bucket.name)


def _grant(bucket: Any, binding: dict[str, Any]) -> None:
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.version = 3
    policy.bindings = [*policy.bindings, binding]
    bucket.set_iam_policy(policy)


def _refused(kind: type[Exception], call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Check that a call raises an error of this kind."""
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")
