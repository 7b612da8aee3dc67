"""Google's Go clients against the emulated cloud."""

import os
from pathlib import Path

import pytest

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.foreign.conftest import Client, check_signed_url


@pytest.fixture
def name() -> str:
    return f"go/{os.urandom(6).hex()}"


@pytest.fixture
def bucket(config: CloudConfig) -> str:
    return config.buckets[0]


def test_go_upload_stores_an_object_with_metadata(go: Client, bucket: str, name: str) -> None:
    assert go("web", "upload", bucket, name) == {
        "content": "hello",
        "size": 5,
        "type": "text/plain",
        "custom": {"run": "1"},
    }


def test_go_resumable_upload_and_range_download(go: Client, bucket: str, name: str) -> None:
    assert go("web", "large", bucket, name) == {"same": True, "part": True}


def test_go_create_only_refuses_a_second_write(go: Client, bucket: str, name: str) -> None:
    assert go("web", "create-only", bucket, name) == {"second": 412, "content": "first"}


def test_go_lists_globs_prefixes_and_versions(go: Client, bucket: str, name: str) -> None:
    answer = go("web", "list", bucket, name)

    assert answer == {"all": 3, "glob": 2, "top": 2, "prefixes": 1, "versions": 1}


def test_go_changes_copies_moves_and_composes(go: Client, bucket: str, name: str) -> None:
    answer = go("web", "change", bucket, name)

    assert answer == {"both": "oneone", "state": "new", "gone": 404}


def test_go_task_is_created(go: Client) -> None:
    assert go("web", "task", "runs", "http://127.0.0.1:1/") == {"mine": True}


def test_go_queue_is_read_over_rest(go: Client) -> None:
    assert go("admin", "queue", "runs") == "RUNNING"


def test_go_job_is_run_and_cancelled(go: Client) -> None:
    assert go("worker", "job", "validibot-validator-fmu") == {"job": True, "execution": True}


def test_go_finds_its_identity(go: Client, config: CloudConfig) -> None:
    answer = go("web", "identity", "https://worker.example")

    assert answer == {"email": config.email("web"), "access": True}


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_go_signed_url_is_accepted_until_changed(
    go: Client, cloud: Cloud, bucket: str, name: str, version: str
) -> None:
    check_signed_url(cloud, go("admin", "sign", bucket, name, version))


def test_go_bucket_keeps_versions_and_retention(go: Client) -> None:
    assert go("admin", "bucket", f"go-{os.urandom(6).hex()}") == {
        "versions": 2,
        "labels": {"a": "1"},
        "type": "multi-region",
        "held": 403,
        "retention": "1h0m0s",
    }


def test_go_receives_filtered_messages_in_order_exactly_once(go: Client) -> None:
    answer = go("admin", "messages", f"go-{os.urandom(6).hex()}")

    assert answer == {"found": ["one k", "two k"], "confirmed": 2}


def test_go_key_file_authenticates_its_account(
    go: Client, bucket: str, name: str, key_file: Path
) -> None:
    assert go("admin", "key-file", str(key_file), bucket, name) == "by key"


def test_go_manages_objects_and_policies_but_no_access_lists(
    go: Client, bucket: str, name: str
) -> None:
    assert go("admin", "manage", bucket, name) == {
        "class": "NEARLINE",
        "tail": "llo",
        "refused": 400,
        "policy": 0,
        "missing": 404,
        "buckets": True,
        "account": True,
    }


def test_go_lists_and_deletes_tasks_over_rest(go: Client) -> None:
    assert go("admin", "manage-tasks", "runs") == {"listed": True, "gone": 404}


def test_go_lists_jobs_over_rest(go: Client) -> None:
    assert "validibot-validator-fmu" in go("worker", "list-jobs")
