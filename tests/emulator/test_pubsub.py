"""Pub/Sub by Google's own clients, as programs construct them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions
from google.auth.transport import requests as auth_requests
from google.cloud import pubsub_v1, storage  # type: ignore[attr-defined]  # the namespace has no types
from google.iam.v1 import policy_pb2
from google.oauth2 import id_token
from google.protobuf import field_mask_pb2, timestamp_pb2
from google.pubsub_v1 import (
    Encoding,
    PublisherClient as GapicPublisher,
    Schema,
    SchemaServiceClient,
    types,
)

from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs
from tests.emulator.target import working

PROJECT = "projects/validibot-local"


@pytest.fixture
def publisher(act_as: ActAs) -> Iterator[pubsub_v1.PublisherClient]:
    act_as("admin")
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    client = pubsub_v1.PublisherClient(publisher_options=options)
    yield client
    client.stop()
    client.transport.close()


@pytest.fixture
def subscriber(act_as: ActAs) -> Iterator[pubsub_v1.SubscriberClient]:
    act_as("admin")
    with pubsub_v1.SubscriberClient() as client:
        yield client


@pytest.fixture
def topic(publisher: pubsub_v1.PublisherClient) -> str:
    name = f"{PROJECT}/topics/topic-{uuid4().hex[:8]}"
    publisher.create_topic(name=name)
    return name


Subscribe = Callable[..., str]


@pytest.fixture
def subscribe(subscriber: pubsub_v1.SubscriberClient, topic: str) -> Subscribe:
    """Create a subscription of the topic with these fields; return its name."""

    def make(**fields: Any) -> str:
        name = f"{PROJECT}/subscriptions/sub-{uuid4().hex[:8]}"
        subscriber.create_subscription(request={"name": name, "topic": topic, **fields})
        return name

    return make


def test_streaming_client_gets_and_acknowledges_messages(
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe()
    got: dict[bytes, Any] = {}
    enough = threading.Event()

    def receive(message: Any) -> None:
        got[message.data] = message
        message.ack()
        if len(got) == 50:
            enough.set()

    flow = pubsub_v1.types.FlowControl(max_messages=5)
    stream = subscriber.subscribe(name, receive, flow_control=flow)
    futures = [publisher.publish(topic, b"%d" % n, kind="test") for n in range(50)]
    ids = {future.result(120) for future in futures}

    assert enough.wait(120)
    stream.cancel()
    stream.result(120)
    assert {message.message_id for message in got.values()} == ids
    assert got[b"7"].attributes == {"kind": "test"}
    assert pull(subscriber, name) == []


def test_stream_of_missing_subscription_ends_with_not_found(
    subscriber: pubsub_v1.SubscriberClient,
) -> None:
    stream = subscriber.subscribe(f"{PROJECT}/subscriptions/missing", lambda _message: None)

    with pytest.raises(exceptions.NotFound, match=r"Resource not found \(resource=missing\)"):
        stream.result(120)


def test_exactly_once_stream_confirms_acknowledgements(
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe(enable_exactly_once_delivery=True)
    acknowledged: Future[Any] = Future()

    def receive(message: Any) -> None:
        acknowledged.set_result(message.ack_with_response().result(120))

    stream = subscriber.subscribe(name, receive)
    publisher.publish(topic, b"once").result(120)

    assert acknowledged.result(120).name == "SUCCESS"
    stream.cancel()
    stream.result(120)


def test_exactly_once_names_ack_ids_that_are_over(
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe(enable_exactly_once_delivery=True)
    publisher.publish(topic, b"once").result(120)
    (message,) = pull(subscriber, name)
    subscriber.modify_ack_deadline(
        subscription=name, ack_ids=[message.ack_id], ack_deadline_seconds=0
    )

    with pytest.raises(exceptions.InvalidArgument, match="acknowledgement ids") as refused:
        subscriber.acknowledge(subscription=name, ack_ids=[message.ack_id])

    (info,) = refused.value.details
    assert info.metadata == {message.ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}


def test_ordered_messages_come_in_order_of_publication(
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe(enable_message_ordering=True)
    for number in range(6):
        publisher.publish(topic, b"%d" % number, ordering_key="k").result(120)
    first = pull(subscriber, name, most=3)
    blocked = pull(subscriber, name)
    acks = [each.ack_id for each in first]
    subscriber.acknowledge(subscription=name, ack_ids=acks)
    rest = pull(subscriber, name)

    assert [each.message.data for each in first] == [b"0", b"1", b"2"]
    assert blocked == []
    assert [each.message.data for each in rest] == [b"3", b"4", b"5"]


def test_filter_lets_matching_messages_pass(
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe(filter='attributes.kind = "order" AND NOT attributes:test')
    for attributes in ({"kind": "order"}, {"kind": "other"}, {"kind": "order", "test": ""}):
        publisher.publish(topic, b"x", **attributes).result(120)

    (message,) = pull(subscriber, name)
    assert message.message.attributes == {"kind": "order"}


def test_dead_letter_goes_to_its_topic_with_its_source(
    cloud: Cloud,
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    dead = f"{topic}-dead"
    publisher.create_topic(name=dead)
    watched = f"{PROJECT}/subscriptions/dead-{uuid4().hex[:8]}"
    subscriber.create_subscription(name=watched, topic=dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name = subscribe(dead_letter_policy=policy)
    agent = f"serviceAccount:service-{cloud.config.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    grant(publisher, dead, "roles/pubsub.publisher", agent)
    grant(subscriber, name, "roles/pubsub.subscriber", agent)
    publisher.publish(topic, b"poison").result(120)
    attempts = []
    for _ in range(5):
        (message,) = pull(subscriber, name)
        attempts.append(message.delivery_attempt)
        subscriber.modify_ack_deadline(
            subscription=name, ack_ids=[message.ack_id], ack_deadline_seconds=0
        )
    (letter,) = pull(subscriber, watched)

    assert attempts == [1, 2, 3, 4, 5]
    assert pull(subscriber, name) == []
    assert letter.message.data == b"poison"
    source = letter.message.attributes
    assert source["CloudPubSubDeadLetterSourceSubscription"] == name.rpartition("/")[2]
    assert source["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


def test_seek_delivers_acknowledged_messages_again(
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe(retain_acked_messages=True)
    publisher.publish(topic, b"first").result(120)
    (message,) = pull(subscriber, name)
    snapshot = f"{PROJECT}/snapshots/snap-{uuid4().hex[:8]}"
    subscriber.create_snapshot(name=snapshot, subscription=name)
    subscriber.acknowledge(subscription=name, ack_ids=[message.ack_id])
    publisher.publish(topic, b"second").result(120)

    subscriber.seek(request={"subscription": name, "snapshot": snapshot})
    again = [each.message.data for each in pull(subscriber, name)]
    later = timestamp_pb2.Timestamp(seconds=int(time.time()) + 60)
    subscriber.seek(request={"subscription": name, "time": later})
    none = pull(subscriber, name)
    earlier = timestamp_pb2.Timestamp(seconds=int(time.time()) - 60)
    subscriber.seek(request={"subscription": name, "time": earlier})
    all_again = [each.message.data for each in pull(subscriber, name)]

    assert again == [b"first", b"second"]
    assert none == []
    assert all_again == [b"first", b"second"]


@pytest.mark.parametrize("wrapper", ["pubsub_wrapper", "no_wrapper"])
def test_push_sends_message_with_id_token(
    publisher: pubsub_v1.PublisherClient,
    topic: str,
    subscribe: Subscribe,
    wrapper: str,
) -> None:
    email = "tasks@validibot-local.iam.gserviceaccount.com"
    token = {"service_account_email": email, "audience": "https://audience.test"}
    details = {"write_metadata": True} if wrapper == "no_wrapper" else {}
    with working() as worker:
        push = {"push_endpoint": worker.url, "oidc_token": token, wrapper: details}
        name = subscribe(push_config=push, ack_deadline_seconds=20)
        number = publisher.publish(topic, b"hello", color="red").result(120)
        request = worker.next()

    scheme, _, sent = request.headers["authorization"].partition(" ")
    verify: Any = id_token.verify_oauth2_token
    claims = verify(sent, auth_requests.Request(), "https://audience.test")
    assert (scheme, claims["email"]) == ("Bearer", email)
    if wrapper == "no_wrapper":
        assert request.body == b"hello"
        assert request.headers["x-goog-pubsub-message-id"] == number
        assert request.headers["color"] == "red"
        return
    body = json.loads(request.body)
    assert body["subscription"] == name
    assert body["message"]["data"] == "aGVsbG8="
    assert body["message"]["messageId"] == body["message"]["message_id"] == number
    assert body["message"]["attributes"] == {"color": "red"}


def test_bucket_notifies_a_topic_of_new_objects(
    cloud: Cloud,
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name, client = subscribe(), storage.Client()
    agent = f"serviceAccount:{client.get_service_account_email()}"
    grant(publisher, topic, "roles/pubsub.publisher", agent)
    bucket = client.create_bucket(f"notified-{uuid4().hex[:8]}")
    notification = bucket.notification(topic.rpartition("/")[2], topic_project="validibot-local")
    notification.create()
    bucket.blob("a").upload_from_string("x")
    (message,) = pull(subscriber, name)
    listed = [each.notification_id for each in bucket.list_notifications()]
    notification.delete()

    assert message.message.attributes["eventType"] == "OBJECT_FINALIZE"
    assert message.message.attributes["objectId"] == "a"
    assert listed == [notification.notification_id]


def test_rest_client_does_the_same(act_as: ActAs) -> None:
    act_as("admin")
    publisher = pubsub_v1.PublisherClient(transport="rest")
    subscriber = pubsub_v1.SubscriberClient(transport="rest")
    topic, name = f"{PROJECT}/topics/rest", f"{PROJECT}/subscriptions/rest-one"
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=name, topic=topic)
    # The publishing method of this client batches by gRPC; the API's own method is below it.
    messages = [types.PubsubMessage(data=b"by REST")]
    ids = GapicPublisher.publish(publisher, topic=topic, messages=messages).message_ids
    mask = field_mask_pb2.FieldMask(paths=["ack_deadline_seconds"])
    update = {"name": name, "ack_deadline_seconds": 30}
    changed = subscriber.update_subscription(subscription=update, update_mask=mask)
    (message,) = pull(subscriber, name)

    assert message.message.message_id == ids[0]
    assert changed.ack_deadline_seconds == 30
    assert list(publisher.list_topic_subscriptions(topic=topic)) == [name]
    publisher.delete_topic(topic=topic)
    assert subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"
    subscriber.delete_subscription(subscription=name)


def test_wrong_requests_are_refused_with_googles_words(
    publisher: pubsub_v1.PublisherClient, subscriber: pubsub_v1.SubscriberClient, topic: str
) -> None:
    name = f"{PROJECT}/subscriptions/refused"
    with pytest.raises(exceptions.AlreadyExists, match="Resource already exists in the project"):
        publisher.create_topic(name=topic)
    with pytest.raises(exceptions.InvalidArgument, match="Invalid resource name given"):
        publisher.create_topic(name=f"{PROJECT}/topics/1")
    request = {"name": name, "topic": topic, "filter": "attributes.= 3"}
    with pytest.raises(exceptions.InvalidArgument, match="syntax error at position 11"):
        subscriber.create_subscription(request=request)
    messages = [types.PubsubMessage(data=b"x")] * 1001
    with pytest.raises(exceptions.InvalidArgument, match="message_count is too large"):
        GapicPublisher.publish(publisher, topic=topic, messages=messages)
    to_table: dict[str, Any] = request | {"filter": "", "bigquery_config": {"table": "a.b.c"}}
    with pytest.raises(exceptions.MethodNotImplemented, match="bigquery_config"):
        subscriber.create_subscription(request=to_table)


def test_roles_decide_who_publishes_and_pulls(
    act_as: ActAs,
    publisher: pubsub_v1.PublisherClient,
    subscriber: pubsub_v1.SubscriberClient,
    topic: str,
    subscribe: Subscribe,
) -> None:
    name = subscribe()
    act_as("guest")
    guest = pubsub_v1.PublisherClient()
    reader = pubsub_v1.SubscriberClient()
    with pytest.raises(exceptions.PermissionDenied, match="User not authorized") as refused:
        guest.publish(topic, b"x").result(120)
    member = "serviceAccount:guest@validibot-local.iam.gserviceaccount.com"
    grant(publisher, topic, "roles/pubsub.publisher", member)
    guest.publish(topic, b"allowed").result(120)
    with pytest.raises(exceptions.PermissionDenied):
        pull(reader, name)
    grant(subscriber, name, "roles/pubsub.subscriber", member)

    assert [each.message.data for each in pull(reader, name)] == [b"allowed"]
    held = reader.test_iam_permissions(
        request={
            "resource": name,
            "permissions": ["pubsub.subscriptions.consume", "pubsub.subscriptions.delete"],
        }
    )
    assert held.permissions == ["pubsub.subscriptions.consume"]
    assert refused.value.details[0].metadata["permission"] == "pubsub.topics.publish"
    guest.transport.close()
    reader.close()


def pull(client: pubsub_v1.SubscriberClient, name: str, most: int = 10) -> list[Any]:
    request = {"subscription": name, "max_messages": most, "return_immediately": True}
    with pytest.warns(DeprecationWarning, match="return_immediately"):
        return list(client.pull(request=request).received_messages)


def grant(client: Any, resource: str, role: str, member: str) -> None:
    policy = policy_pb2.Policy(bindings=[policy_pb2.Binding(role=role, members=[member])])
    client.set_iam_policy(request={"resource": resource, "policy": policy})


def test_topic_with_a_schema_refuses_other_messages(act_as: ActAs) -> None:
    act_as("admin")
    own = f"schema-{uuid4().hex[:8]}"
    definition = 'syntax = "proto3"; message A { string id = 1; }'
    with SchemaServiceClient() as schemas, GapicPublisher() as publisher:
        schema = Schema(type_=Schema.Type.PROTOCOL_BUFFER, definition=definition)
        made = schemas.create_schema(parent=PROJECT, schema=schema, schema_id=own)
        settings = {"schema": made.name, "encoding": Encoding.JSON}
        topic = f"{PROJECT}/topics/{own}"
        publisher.create_topic(request={"name": topic, "schema_settings": settings})
        publisher.publish(topic=topic, messages=[types.PubsubMessage(data=b'{"id": "a"}')])
        with pytest.raises(exceptions.InvalidArgument, match="failed schema validation"):
            publisher.publish(topic=topic, messages=[types.PubsubMessage(data=b'{"id": 1}')])
        schemas.delete_schema(name=made.name)
