"""Google's Node clients against the emulated cloud."""

import hashlib
import os
from pathlib import Path

import pytest

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.foreign.conftest import Client, check_signed_url


@pytest.fixture
def name() -> str:
    return f"node/{os.urandom(6).hex()}"


@pytest.fixture
def bucket(config: CloudConfig) -> str:
    return config.buckets[0]


def test_node_save_stores_an_object_with_metadata(node: Client, bucket: str, name: str) -> None:
    assert node("web", "save", bucket, name) == {
        "content": "hello",
        "exists": True,
        "size": 5,
        "type": "text/plain",
        "custom": {"run": "1"},
    }


def test_node_simple_upload_stores_an_object(node: Client, bucket: str, name: str) -> None:
    assert node("web", "saveSmall", bucket, name) == "hello"


def test_node_create_only_refuses_a_second_write(node: Client, bucket: str, name: str) -> None:
    assert node("web", "createOnly", bucket, name) == {"second": 412, "content": "first"}


def test_node_chunked_upload_and_range_download(node: Client, bucket: str, name: str) -> None:
    assert node("web", "large", bucket, name) == {"same": True, "part": True}


def test_node_streams_of_unknown_length_are_stored(node: Client, bucket: str, name: str) -> None:
    assert node("web", "stream", bucket, name) == 1_400_000


def test_node_gzip_objects_are_stored_compressed(node: Client, bucket: str, name: str) -> None:
    answer = node("web", "gzip", bucket, name)

    assert answer == {"encoding": "gzip", "plain": 6000, "packed": True}


def test_node_lists_pages_globs_prefixes_and_versions(node: Client, bucket: str, name: str) -> None:
    assert node("web", "list", bucket, name) == {
        "first": ["a.txt", "b.csv"],
        "all": ["a.txt", "b.csv", "d/c.txt"],
        "glob": ["a.txt", "d/c.txt"],
        "prefixes": ["d/"],
        "versions": ["a.txt"],
    }


def test_node_changes_copies_moves_and_combines(node: Client, bucket: str, name: str) -> None:
    answer = node("web", "change", bucket, name)

    assert answer == {"both": "oneone", "state": "new", "gone": 404, "copy": False}


def test_node_task_is_created(node: Client) -> None:
    answer = node("web", "createTask", "runs", "http://127.0.0.1:1/")

    assert answer == {"mine": True, "same": True}


def test_node_publishes_and_receives_filtered_messages_in_order(node: Client) -> None:
    assert node("admin", "messages", f"node-{os.urandom(6).hex()}") == {
        "found": [["one", "k"], ["two", "k"]],
        "subscriptions": 1,
        "missing": 5,
    }


def test_node_job_is_run_and_cancelled(node: Client) -> None:
    answer = node("worker", "runJob", "validibot-validator-fmu")

    assert answer == {"job": True, "execution": True}


def test_node_key_file_authenticates_every_client(
    node: Client, bucket: str, name: str, key_file: Path
) -> None:
    answer = node("validator-fmu", "keyFile", str(key_file), bucket, name)

    assert answer == {"content": "by key", "paused": 7, "identity": 3}


def test_node_impersonates_an_account(node: Client, config: CloudConfig) -> None:
    answer = node("admin", "impersonate", config.email("web"))

    assert answer == {"token": True, "key": 40, "identity": 3}


def test_node_finds_its_identity(node: Client, config: CloudConfig) -> None:
    email = config.email("web")
    assert node("web", "identity", "https://worker.example") == {
        "project": config.project,
        "email": email,
        "credentials": email,
        "token": "string",
    }


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_node_signed_url_is_accepted_until_changed(
    node: Client, cloud: Cloud, bucket: str, name: str, version: str
) -> None:
    check_signed_url(cloud, node("admin", "sign", bucket, name, version))


def test_node_uploads_parts_in_parallel(
    node: Client, bucket: str, name: str, tmp_path: Path
) -> None:
    data = os.urandom(12 * 1024 * 1024)
    (tmp_path / "large").write_bytes(data)
    answer = node("web", "transfer", bucket, name, str(tmp_path / "large"))

    assert answer == {"size": len(data), "digest": hashlib.sha256(data).hexdigest()}


def test_node_bucket_keeps_versions_and_retention(node: Client) -> None:
    assert node("admin", "bucket", f"node-{os.urandom(6).hex()}") == {
        "versions": 2,
        "labels": {"a": "1", "b": "2"},
        "type": "multi-region",
        "held": 403,
    }


def test_node_manages_files_and_is_refused_access_lists(
    node: Client, bucket: str, name: str
) -> None:
    assert node("admin", "manage", bucket, name) == {
        "exists": True,
        "class": "NEARLINE",
        "refused": 400,
        "notifications": 0,
        "missing": 404,
        "buckets": True,
        "left": 0,
        "account": True,
    }


def test_node_lists_and_deletes_tasks(node: Client) -> None:
    answer = node("admin", "manageTasks", "runs")

    assert answer == {
        "listed": True,
        "gone": 5,
        "queues": ["exports", "fmu-probes", "runs", "webhooks"],
    }


def test_node_lists_jobs_and_executions(node: Client) -> None:
    node("worker", "runJob", "validibot-validator-fmu")
    answer = node("worker", "listJobs", "validibot-validator-fmu")

    assert answer == {"job": True, "executions": True}
