"""Cloud Logging by Google's own clients, as programs construct them."""

import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions
from google.cloud import logging as cloud_logging, run_v2
from google.cloud.logging_v2.services.config_service_v2 import ConfigServiceV2Client
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
from google.cloud.logging_v2.types import (
    LifecycleState,
    LogEntry,
    LogExclusion,
    LogSink,
    TailLogEntriesRequest,
    WriteLogEntriesPartialErrors,
)
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1 import PublisherClient, SubscriberClient

from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs
from tests.emulator.test_run_services import PLACE, ask, deploy, done
from tests.waiting import LIMIT, slowdown

PROJECT = "projects/validibot-local"
Client: Any = cloud_logging.Client  # it has no types
GLOBAL = {"type": "global"}


@pytest.fixture
def client(act_as: ActAs) -> Iterator[LoggingServiceV2Client]:
    act_as("admin")
    with LoggingServiceV2Client() as client:
        yield client


@pytest.fixture
def log(client: LoggingServiceV2Client) -> str:
    return f"{PROJECT}/logs/log-{uuid4().hex[:8]}"


def found(client: LoggingServiceV2Client, text: str, **options: Any) -> list[Any]:
    request = {"resource_names": [PROJECT], "filter": text, **options}
    return list(client.list_log_entries(request=request))


def now() -> dt.datetime:
    return dt.datetime.fromtimestamp(time.time(), dt.UTC)


def eventually(client: LoggingServiceV2Client, text: str, least: int) -> list[Any]:
    limit = time.monotonic() + LIMIT * slowdown()
    while len(entries := found(client, text)) < least and time.monotonic() < limit:
        time.sleep(0.1)
    return entries


@pytest.mark.parametrize("use_grpc", [True, False], ids=["grpc", "rest"])
def test_default_client_writes_lists_and_deletes(act_as: ActAs, *, use_grpc: bool) -> None:
    act_as("admin")
    client = Client(_use_grpc=use_grpc)
    logger = client.logger(f"python-{uuid4().hex[:8]}")
    logger.log_text("first", severity="INFO", labels={"colour": "red"})
    logger.log_struct(
        {"message": "second", "size": 7}, severity="ERROR", trace="projects/p/traces/t"
    )
    entries = list(logger.list_entries(filter_="jsonPayload.size>5 OR textPayload:FIRST"))
    failed = list(logger.list_entries(filter_="severity>=ERROR", max_results=1))
    logger.delete()

    assert [each.payload for each in entries] == ["first", {"message": "second", "size": 7}]
    assert (entries[0].severity, entries[0].labels["colour"]) == ("INFO", "red")
    assert entries[0].resource.type == "global"
    assert [each.trace for each in failed] == ["projects/p/traces/t"]
    assert list(logger.list_entries()) == []
    with pytest.raises(exceptions.NotFound):
        logger.delete()


def test_exclusions_keep_entries_out_of_the_default_bucket(
    client: LoggingServiceV2Client, log: str
) -> None:
    exclusion = LogExclusion(
        name=log.rpartition("/")[2], filter=f'logName="{log}" AND severity<ERROR'
    )
    with ConfigServiceV2Client() as config:
        made = config.create_exclusion(parent=PROJECT, exclusion=exclusion)
        name = f"{PROJECT}/exclusions/{made.name}"
        write = {"log_name": log, "resource": GLOBAL}
        for severity in (200, 500):
            entry = LogEntry(text_payload=str(severity), severity=severity)
            client.write_log_entries(request={**write, "entries": [entry]})
        changed = config.update_exclusion(
            name=name,
            exclusion=LogExclusion(disabled=True),
            update_mask=FieldMask(paths=["disabled"]),
        )
        client.write_log_entries(request={**write, "entries": [LogEntry(text_payload="back")]})
        listed = list(config.list_exclusions(parent=PROJECT))
        config.delete_exclusion(name=name)
        with pytest.raises(exceptions.NotFound):
            config.get_exclusion(name=name)
        with pytest.raises(exceptions.Forbidden, match="Consider disabling instead"):
            config.delete_sink(sink_name=f"{PROJECT}/sinks/_Default")
        settings = config.get_settings(request={"name": f"{PROJECT}/settings"})

    texts = [each.text_payload for each in found(client, f'logName="{log}"')]
    assert (texts, changed.disabled) == (["500", "back"], True)
    assert changed in listed
    assert settings.kms_service_account_id.endswith("@gcp-sa-logging.iam.gserviceaccount.com")


def test_standard_logging_arrives_by_the_cloud_handler(
    act_as: ActAs, client: LoggingServiceV2Client, log: str
) -> None:
    act_as("admin")
    cloud = Client()
    handler = cloud.get_default_handler(name=log.rpartition("/")[2])
    logger = logging.getLogger(log)
    logger.addHandler(handler)
    logger.warning("disk %s", "full", extra={"labels": {"disk": "a"}})
    handler.close()
    logger.removeHandler(handler)
    (entry,) = eventually(client, f'logName="{log}"', 1)

    assert (entry.text_payload or entry.json_payload["message"]) == "disk full"
    assert (entry.severity, entry.labels["disk"]) == (400, "a")


def test_request_gives_defaults_and_the_same_entry_is_kept_once(
    client: LoggingServiceV2Client, log: str
) -> None:
    at = now()
    entries = [
        LogEntry(text_payload="one", labels={"a": "entry"}, insert_id="1", timestamp=at),
        LogEntry(text_payload="again", insert_id="1", timestamp=at),
    ]
    for _ in range(2):
        client.write_log_entries(
            log_name=log, resource=GLOBAL, labels={"a": "request", "b": "c"}, entries=entries
        )
    (entry,) = found(client, f'logName="{log}"')

    assert (entry.text_payload, dict(entry.labels)) == ("one", {"a": "entry", "b": "c"})
    assert entry.resource.labels["project_id"] == "validibot-local"
    assert entry.receive_timestamp >= entry.timestamp


def test_partial_success_keeps_valid_entries_and_names_the_others(
    client: LoggingServiceV2Client, log: str
) -> None:
    entries = [LogEntry(text_payload="good"), LogEntry(), LogEntry(text_payload="x" * 300_000)]
    request = {"log_name": log, "resource": GLOBAL, "entries": entries}
    with pytest.raises(exceptions.InvalidArgument, match=r"entries\[1\]: A payload is required"):
        client.write_log_entries(request=request)
    assert found(client, f'logName="{log}"') == []
    with pytest.raises(exceptions.InvalidArgument) as refused:
        client.write_log_entries(request=request | {"partial_success": True})

    assert [each.text_payload for each in found(client, f'logName="{log}"')] == ["good"]
    errors = WriteLogEntriesPartialErrors.pb()()
    assert refused.value.details[0].Unpack(errors)
    assert sorted(errors.log_entry_errors) == [1, 2]
    assert "exceeds maximum size" in errors.log_entry_errors[2].message


def test_pages_are_in_the_wanted_order(client: LoggingServiceV2Client, log: str) -> None:
    at = now()
    entries = [
        LogEntry(text_payload=str(number), timestamp=at - dt.timedelta(seconds=number))
        for number in range(25)
    ]
    client.write_log_entries(log_name=log, resource=GLOBAL, entries=entries)
    client.write_log_entries(
        log_name=log,
        resource=GLOBAL,
        entries=[LogEntry(text_payload="old", timestamp=at - dt.timedelta(days=31))],
    )
    wanted = f'logName="{log}"'
    descending = found(client, wanted, order_by="timestamp desc", page_size=10)

    assert [each.text_payload for each in descending] == [str(number) for number in range(25)]
    assert found(client, wanted, page_size=7)[0].text_payload == "24"
    assert log in list(client.list_logs(parent=PROJECT))


def test_wrong_logging_requests_are_refused(client: LoggingServiceV2Client, log: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="position 9, near the end"):
        found(client, "severity=")
    with pytest.raises(exceptions.InvalidArgument, match="order_by 'size'"):
        found(client, "", order_by="size")
    with pytest.raises(exceptions.InvalidArgument, match="page_size must be between 0 and 1000"):
        found(client, "", page_size=1001)
    with pytest.raises(exceptions.InvalidArgument, match="resource_names is empty"):
        client.list_log_entries(request={})
    with pytest.raises(exceptions.PermissionDenied, match="project elsewhere"):
        client.list_log_entries(resource_names=["projects/elsewhere"])
    with pytest.raises(exceptions.InvalidArgument, match="log id 'a b' is not valid"):
        client.write_log_entries(
            log_name=f"{PROJECT}/logs/a b", resource=GLOBAL, entries=[LogEntry(text_payload="x")]
        )
    with pytest.raises(exceptions.InvalidArgument, match="monitored resource is required"):
        client.write_log_entries(log_name=log, entries=[LogEntry(text_payload="x")])


def test_roles_decide_who_writes_and_reads_logs(act_as: ActAs, log: str) -> None:
    act_as("log-writer")
    writer = LoggingServiceV2Client()
    request = {"log_name": log, "resource": GLOBAL, "entries": [LogEntry(text_payload="x")]}
    writer.write_log_entries(request=request)
    act_as("log-viewer")
    viewer = LoggingServiceV2Client()
    with pytest.raises(exceptions.PermissionDenied, match=r"'logging\.logEntries\.create' denied"):
        viewer.write_log_entries(request=request)
    with pytest.raises(exceptions.PermissionDenied, match=r"logging\.logEntries\.list"):
        found(writer, "")
    with pytest.raises(exceptions.PermissionDenied, match=r"logging\.logEntries\.list"):
        next(iter(writer.tail_log_entries(iter([TailLogEntriesRequest(resource_names=[PROJECT])]))))
    with pytest.raises(exceptions.PermissionDenied, match=r"logging\.logs\.delete"):
        viewer.delete_log(log_name=log)

    assert [each.text_payload for each in found(viewer, f'logName="{log}"')] == ["x"]
    kinds = [each.type for each in viewer.list_monitored_resource_descriptors(request={})]
    assert {"cloud_run_job", "cloud_run_revision", "global"} <= set(kinds)
    for each in (writer, viewer):
        with each:
            pass


def test_tail_tells_new_entries_that_match(client: LoggingServiceV2Client, log: str) -> None:
    request = TailLogEntriesRequest(
        resource_names=[PROJECT],
        filter=f'logName="{log}" AND severity>=WARNING',
        buffer_window=dt.timedelta(milliseconds=100),
    )
    got: list[str] = []

    def read() -> None:
        # It returns when the first entries are there.
        stream: Any = client.tail_log_entries(iter([request]))
        for answer in stream:
            got.extend(each.text_payload for each in answer.entries)
            if "last" in got:
                stream.cancel()
                return

    reading = threading.Thread(target=read)
    reading.start()
    limit = time.monotonic() + LIMIT * slowdown()
    while reading.is_alive() and time.monotonic() < limit:
        # The stream begins at a moment that no client can see.
        text = "last" if got else "early"
        entries = [
            LogEntry(text_payload=text, severity="ERROR"),
            LogEntry(text_payload="quiet", severity="INFO"),
        ]
        client.write_log_entries(log_name=log, resource=GLOBAL, entries=entries)
        reading.join(0.1)

    assert got[-1] == "last"
    assert "quiet" not in got


def test_output_of_an_execution_arrives(client: LoggingServiceV2Client) -> None:
    line = {"severity": "ERROR", "message": "bad", "size": 3}
    program = f"import sys; print({json.dumps(line)!r}); print('plain', file=sys.stderr)"
    container = {"image": "sleeper:1", "command": ["{python}", "-c", program]}
    name = f"logs-{uuid4().hex[:6]}"
    job = run_v2.Job(template={"template": {"containers": [container], "max_retries": 0}})
    with run_v2.JobsClient() as jobs:
        made = done(jobs.create_job(parent=PLACE, job=job, job_id=name))
        execution = done(jobs.run_job(name=made.name))
        done(jobs.delete_job(name=made.name))
    short = execution.name.rpartition("/")[2]
    entries = eventually(
        client,
        f'resource.type="cloud_run_job" AND resource.labels.job_name="{name}" AND '
        f'labels."run.googleapis.com/execution_name"="{short}"',
        2,
    )
    by_log = {each.log_name.rpartition("%2F")[2]: each for each in entries}

    assert set(by_log) == {"stdout", "stderr"}
    assert dict(by_log["stdout"].json_payload) == {"message": "bad", "size": 3}
    assert by_log["stdout"].severity == 500
    assert by_log["stderr"].text_payload == "plain"
    assert by_log["stderr"].resource.labels["location"] == "us-west1"


def test_output_of_a_service_arrives(client: LoggingServiceV2Client, cloud: Cloud) -> None:
    with run_v2.ServicesClient() as services:
        made = deploy(services, "says", env=[{"name": "PYTHONVERBOSE", "value": "1"}])
        ask(cloud, f"{made.uri}/env")
        revision = made.latest_ready_revision.rpartition("/")[2]
        wanted = f'resource.type="cloud_run_revision" resource.labels.revision_name="{revision}"'
        entries = eventually(client, f"{wanted} log_id(run.googleapis.com/stderr)", 1)
        done(services.delete_service(name=made.name))

    assert entries[0].resource.labels["service_name"] == "says"


def test_sink_carries_entries_with_the_rights_of_its_writer(act_as: ActAs) -> None:
    act_as("admin")
    own = f"sink-{uuid4().hex[:8]}"
    log = f"{PROJECT}/logs/{own}"
    topic, subscription = f"{PROJECT}/topics/{own}", f"{PROJECT}/subscriptions/{own}"
    publisher, subscriber = PublisherClient(), SubscriberClient()
    with ConfigServiceV2Client() as config, LoggingServiceV2Client() as client, subscriber:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        sink = LogSink(
            name=own, destination=f"pubsub.googleapis.com/{topic}", filter=f'logName="{log}"'
        )
        request = {"parent": PROJECT, "sink": sink, "unique_writer_identity": True}
        made = config.create_sink(request=request)
        entry = LogEntry(log_name=log, text_payload="lost", resource=GLOBAL)
        client.write_log_entries(entries=[entry])
        binding = {"role": "roles/pubsub.publisher", "members": [made.writer_identity]}
        publisher.set_iam_policy(request={"resource": topic, "policy": {"bindings": [binding]}})
        entry.text_payload = "carried"
        client.write_log_entries(entries=[entry])
        pulled = subscriber.pull(
            subscription=subscription, max_messages=2, timeout=LIMIT * slowdown()
        )
        config.delete_sink(sink_name=f"{PROJECT}/sinks/{own}")

    texts = [json.loads(each.message.data)["textPayload"] for each in pulled.received_messages]
    assert texts == ["carried"]


def test_sink_keeps_entries_in_a_bucket_with_a_view(act_as: ActAs) -> None:
    act_as("admin")
    own = f"own-{uuid4().hex[:8]}"
    log, bucket = f"{PROJECT}/logs/{own}", f"{PROJECT}/locations/global/buckets/{own}"
    with ConfigServiceV2Client() as config, LoggingServiceV2Client() as client:
        parent = bucket.rpartition("/buckets/")[0]
        config.create_bucket(request={"parent": parent, "bucket_id": own, "bucket": {}})
        view = {"filter": f'LOG_ID("{own}")'}
        config.create_view(request={"parent": bucket, "view_id": "app", "view": view})
        destination = f"logging.googleapis.com/{bucket}"
        sink = LogSink(name=own, destination=destination, filter="severity>=ERROR")
        config.create_sink(parent=PROJECT, sink=sink)
        entries = [
            LogEntry(log_name=log, text_payload=text, resource=GLOBAL, severity=severity)
            for text, severity in (("fine", 200), ("broken", 500))
        ]
        client.write_log_entries(entries=entries)
        request = {"resource_names": [f"{bucket}/views/app"], "filter": ""}
        shown = [entry.text_payload for entry in client.list_log_entries(request=request)]
        config.delete_sink(sink_name=f"{PROJECT}/sinks/{own}")
        config.delete_bucket(request={"name": bucket})
        config.undelete_bucket(request={"name": bucket})
        [restored] = [each for each in config.list_buckets(parent=parent) if each.name == bucket]
        config.delete_bucket(request={"name": bucket})

    assert shown == ["broken"]
    assert restored.lifecycle_state == LifecycleState.ACTIVE
