"""Secret Manager: secrets, versions, aliases, expiry, destruction and what is refused."""

from typing import Any

import pytest

from devenv.gcp.errors import (
    AlreadyExists,
    CloudError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from tests.unit.devenv.gcp.secret_manager.cloud import (
    AUTOMATIC,
    KEY,
    LATEST,
    NUMBERED,
    PROJECT,
    TOPIC,
    SecretBench,
    State,
)

pytestmark = pytest.mark.anyio


async def test_created_secret_has_the_number_of_its_project(cloud: SecretBench) -> None:
    secret = await cloud.create(labels={"team": "a"})

    assert secret.name == NUMBERED
    assert secret.create_time.seconds == int(cloud.clock.now())
    assert secret.etag.startswith('"')
    assert await cloud("GetSecret", name=NUMBERED) == secret


async def test_regional_secret_is_known_in_its_region_alone(cloud: SecretBench) -> None:
    region = f"{PROJECT}/locations/us-west1"
    await cloud.create()
    made = await cloud("CreateSecret", parent=region, secret_id="key", secret={})
    version = await cloud("AddSecretVersion", parent=made.name, payload={"data": b"near"})
    near = await cloud("AccessSecretVersion", name=f"{region}/secrets/key/versions/latest")
    listed = [await cloud("ListSecrets", parent=each) for each in (PROJECT, region)]

    assert made.name == NUMBERED.replace("/secrets", "/locations/us-west1/secrets")
    assert not version.HasField("replication_status")
    assert (near.name, near.payload.data) == (version.name, b"near")
    assert [[each.name for each in answer.secrets] for answer in listed] == [
        [NUMBERED],
        [made.name],
    ]
    with pytest.raises(NotFound, match="no versions"):
        await cloud.read()
    with pytest.raises(InvalidArgument, match="replication cannot be set"):
        await cloud("CreateSecret", parent=region, secret_id="other", secret=AUTOMATIC)
    with pytest.raises(InvalidArgument, match=r"expected format \[projects/\*/secrets/\*\]"):
        cloud.service.value("a@b", f"{region}/secrets/key", "latest")
    with pytest.raises(InvalidArgument, match="us-west1:key"):
        cloud.service.value("a@b", "us-west1:key", "latest")


async def test_second_secret_of_a_name_is_refused(cloud: SecretBench) -> None:
    await cloud.create()

    with pytest.raises(AlreadyExists, match="already exists"):
        await cloud.create()


async def test_latest_is_the_newest_version_whatever_its_state(cloud: SecretBench) -> None:
    await cloud.create()
    await cloud.add(b"one")
    await cloud.add(b"two")
    assert await cloud.read() == b"two"
    assert await cloud.read("1") == b"one"

    await cloud("DisableSecretVersion", name=f"{KEY}/versions/2")
    with pytest.raises(FailedPrecondition, match=r"versions/2\] is in DISABLED state"):
        await cloud.read()
    await cloud("EnableSecretVersion", name=f"{KEY}/versions/2")
    assert await cloud.read() == b"two"


async def test_access_answers_with_number_and_checksum(cloud: SecretBench) -> None:
    await cloud.create()
    version = await cloud.add(b"123456789", data_crc32c=0xE3069283)

    answer = await cloud("AccessSecretVersion", name=LATEST)

    assert answer.name == version.name == f"{NUMBERED}/versions/1"
    assert answer.payload.data_crc32c == 0xE3069283
    assert version.client_specified_payload_checksum


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"data": b""}, "cannot be empty"),
        ({"data": b"x" * 65537}, "greater than 65536 bytes"),
        ({"data": b"x", "data_crc32c": 1}, "checksum data_crc32c does not match"),
    ],
)
async def test_bad_payload_is_refused(
    cloud: SecretBench, payload: dict[str, Any], text: str
) -> None:
    await cloud.create()

    with pytest.raises(InvalidArgument, match=text):
        await cloud("AddSecretVersion", parent=KEY, payload=payload)
    with pytest.raises(NotFound, match="not found or has no versions"):
        await cloud.read()


async def test_destroyed_version_stays_without_its_payload(cloud: SecretBench) -> None:
    await cloud.create()
    await cloud.add(b"gone")
    destroyed = await cloud("DestroySecretVersion", name=f"{KEY}/versions/1")

    assert destroyed.state == State.DESTROYED
    assert destroyed.HasField("destroy_time")
    assert b"gone" not in b"".join(
        value for _, value in cloud.store.table("secret_payloads").scan()
    )
    with pytest.raises(FailedPrecondition, match="DESTROYED"):
        await cloud.read("1")
    with pytest.raises(FailedPrecondition, match="already DESTROYED"):
        await cloud("EnableSecretVersion", name=f"{KEY}/versions/1")


async def test_number_of_a_version_is_never_used_again(cloud: SecretBench) -> None:
    await cloud.create()
    await cloud.add()
    await cloud("DestroySecretVersion", name=f"{KEY}/versions/1")

    assert (await cloud.add()).name.endswith("/versions/2")


async def test_delayed_destruction_happens_at_its_time(cloud: SecretBench) -> None:
    await cloud.create(version_destroy_ttl={"seconds": 86400})
    await cloud.add()
    scheduled = await cloud("DestroySecretVersion", name=f"{KEY}/versions/1")
    assert scheduled.state == State.DISABLED
    assert scheduled.HasField("scheduled_destroy_time")

    await cloud.clock.turn(86399)
    assert (await cloud("GetSecretVersion", name=LATEST)).state == State.DISABLED
    await cloud.clock.turn(1)
    assert (await cloud("GetSecretVersion", name=LATEST)).state == State.DESTROYED


async def test_enabled_version_is_not_destroyed_later(cloud: SecretBench) -> None:
    await cloud.create(version_destroy_ttl={"seconds": 86400})
    await cloud.add()
    await cloud("DestroySecretVersion", name=LATEST)
    await cloud("EnableSecretVersion", name=LATEST)

    await cloud.clock.turn(90000)
    assert await cloud.read() == b"value"


@pytest.mark.parametrize("field", ["ttl", "expire_time"])
async def test_secret_is_gone_after_its_expiry(cloud: SecretBench, field: str) -> None:
    start = 0 if field == "ttl" else int(cloud.clock.now())
    end: dict[str, Any] = {field: {"seconds": start + 60}}
    await cloud.create(**end)
    await cloud.add()

    await cloud.clock.turn(60)

    with pytest.raises(NotFound):
        await cloud.read()
    assert not (await cloud("ListSecrets", parent=PROJECT)).secrets
    await cloud.create()
    assert (await cloud.add()).name.endswith("/versions/1")


async def test_alias_names_a_version(cloud: SecretBench) -> None:
    await cloud.create()
    await cloud.add(b"one")
    await cloud.add(b"two")
    change = {"name": KEY, "version_aliases": {"stable": 1}}
    await cloud("UpdateSecret", secret=change, update_mask={"paths": ["version_aliases"]})

    assert await cloud.read("stable") == b"one"
    with pytest.raises(NotFound, match="versions/other"):
        await cloud.read("other")
    with pytest.raises(InvalidArgument, match="version 9, which is not there"):
        await cloud(
            "UpdateSecret",
            secret={"name": KEY, "version_aliases": {"next": 9}},
            update_mask={"paths": ["version_aliases"]},
        )


async def test_update_changes_only_what_the_mask_names(cloud: SecretBench) -> None:
    await cloud.create(labels={"team": "a"}, annotations={"note": "x"})
    change = {"name": KEY, "labels": {"team": "b"}, "annotations": {"note": "y"}}

    changed = await cloud("UpdateSecret", secret=change, update_mask={"paths": ["labels"]})

    assert dict(changed.labels) == {"team": "b"}
    assert dict(changed.annotations) == {"note": "x"}


@pytest.mark.parametrize(
    "method",
    ["DeleteSecret", "DisableSecretVersion", "EnableSecretVersion", "DestroySecretVersion"],
)
async def test_old_etag_changes_nothing(cloud: SecretBench, method: str) -> None:
    await cloud.create()
    await cloud.add()
    name = KEY if method == "DeleteSecret" else LATEST

    with pytest.raises(FailedPrecondition, match="etag"):
        await cloud(method, name=name, etag='"old"')
    assert await cloud.read() == b"value"


@pytest.mark.parametrize(
    ("secret", "error", "text"),
    [
        ({}, InvalidArgument, "replication"),
        ({"replication": {"user_managed": {}}}, InvalidArgument, "at least one replica"),
        ({**AUTOMATIC, "labels": {"Team": "a"}}, InvalidArgument, "label 'Team'"),
        ({**AUTOMATIC, "ttl": {"seconds": -1}}, InvalidArgument, "ttl must be positive"),
        ({**AUTOMATIC, "expire_time": {"seconds": 1}}, InvalidArgument, "in the future"),
        ({**AUTOMATIC, "version_destroy_ttl": {"seconds": 1}}, InvalidArgument, "24 hours"),
        ({**AUTOMATIC, "version_aliases": {"a": 1}}, InvalidArgument, "without versions"),
        ({**AUTOMATIC, "topics": [{"name": "t"}]}, InvalidArgument, "must look like"),
        ({**AUTOMATIC, "topics": [TOPIC] * 11}, InvalidArgument, "at most 10 topics"),
        ({**AUTOMATIC, "rotation": {}}, InvalidArgument, "requires Secret.topics"),
        ({**AUTOMATIC, "rotation": {"rotation_period": {}}}, InvalidArgument, "1 hour"),
        (
            {**AUTOMATIC, "rotation": {"rotation_period": {"seconds": 3600}}},
            *(InvalidArgument, "must be set if rotation_period is"),
        ),
        (
            {**AUTOMATIC, "rotation": {"next_rotation_time": {"seconds": 1}}},
            *(InvalidArgument, "5 minutes to 100 years"),
        ),
    ],
)
async def test_bad_secret_is_refused_by_field(
    cloud: SecretBench, secret: dict[str, Any], error: type[CloudError], text: str
) -> None:
    with pytest.raises(error, match=text):
        await cloud("CreateSecret", parent=PROJECT, secret_id="key", secret=secret)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("key", InvalidArgument),
        ("projects/other/secrets/key", PermissionDenied),
        ("projects/local-project/locations/us-east1/secrets/key", InvalidArgument),
    ],
)
async def test_bad_name_is_refused(cloud: SecretBench, name: str, error: type[CloudError]) -> None:
    with pytest.raises(error):
        await cloud("GetSecret", name=name)


async def test_lists_are_in_pages_newest_first(cloud: SecretBench) -> None:
    for name in ("a", "key", "c"):
        await cloud.create(name)
        await cloud.clock.turn(1)
    for _ in range(3):
        await cloud.add()

    first = await cloud("ListSecrets", parent=PROJECT, page_size=2)
    rest = await cloud("ListSecrets", parent=PROJECT, page_token=first.next_page_token)
    names = [each.name.rpartition("/")[2] for each in (*first.secrets, *rest.secrets)]
    assert (names, first.total_size) == (["c", "key", "a"], 3)
    versions = await cloud("ListSecretVersions", parent=KEY, page_size=2)
    assert [each.name[-1] for each in versions.versions] == ["3", "2"]


async def test_each_method_needs_its_permission(cloud: SecretBench) -> None:
    await cloud.create()
    await cloud.add()
    await cloud.read("1")

    assert cloud.guard.asked == [
        ("secretmanager.secrets.create", PROJECT),
        ("secretmanager.versions.add", KEY),
        ("secretmanager.versions.access", f"{KEY}/versions/1"),
    ]


async def test_deleted_secret_leaves_neither_payload_nor_policy(cloud: SecretBench) -> None:
    await cloud.create()
    await cloud.add()
    await cloud("DeleteSecret", name=KEY)

    assert not list(cloud.store.table("secret_payloads").scan())
    assert cloud.guard.forgotten == [KEY]


async def test_declared_secret_without_value_has_no_version(cloud: SecretBench) -> None:
    cloud.service = cloud.make(key="")
    await cloud.service.start()

    with pytest.raises(NotFound, match="has no versions"):
        await cloud.read()


async def test_declared_value_is_the_first_version_only(cloud: SecretBench) -> None:
    cloud.service = cloud.make(key="declared")
    await cloud.service.start()
    first = await cloud.read()
    await cloud.add(b"rotated")

    cloud.service = cloud.make(key="declared")
    await cloud.service.start()

    assert (first, await cloud.read()) == (b"declared", b"rotated")
