"""google.pubsub.v1.Publisher: topics, and messages published to them.

See https://cloud.google.com/pubsub/docs/reference/rpc.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.pubsub.context import PubSubContext, changed, method, page_of, require_new
from devenv.gcp.pubsub.rules import MOST_TOPICS, Topic, check_messages, check_topic
from devenv.gcp.pubsub.schemas import PubSubSchemas
from devenv.gcp.pubsub.state import LiveTopic
from devenv.gcp.rpc import HttpRule, Rpc

types = client_types("google.pubsub_v1")

_TOPIC = "/v1/{topic=projects/*/topics/*}"


class TopicMethods:
    """The methods of topics."""

    def __init__(self, context: PubSubContext, schemas: PubSubSchemas) -> None:
        self._context = context
        self._schemas = schemas
        self._names = context.names
        self._broker = context.broker

    def rpcs(self) -> Iterator[Rpc]:
        named, updated = "/v1/{name=projects/*/topics/*}", "/v1/{topic.name=projects/*/topics/*}"
        for name, response, handle, rule in (
            ("CreateTopic", Topic, self.create, HttpRule("PUT", named, "*")),
            ("UpdateTopic", Topic, self.update, HttpRule("PATCH", updated, "*")),
            ("GetTopic", Topic, self.get, HttpRule("GET", _TOPIC)),
            ("DeleteTopic", empty_pb2.Empty, self.delete, HttpRule("DELETE", _TOPIC)),
            (
                "ListTopics",
                types.ListTopicsResponse.pb(),
                self.list_topics,
                HttpRule("GET", "/v1/{project=projects/*}/topics"),
            ),
            (
                "ListTopicSubscriptions",
                types.ListTopicSubscriptionsResponse.pb(),
                self.list_subscriptions,
                HttpRule("GET", f"{_TOPIC}/subscriptions"),
            ),
            (
                "ListTopicSnapshots",
                types.ListTopicSnapshotsResponse.pb(),
                self.list_snapshots,
                HttpRule("GET", f"{_TOPIC}/snapshots"),
            ),
            (
                "Publish",
                types.PublishResponse.pb(),
                self.publish,
                HttpRule("POST", f"{_TOPIC}:publish", "*"),
            ),
        ):
            yield method("Publisher", name, response, handle, rule)

    async def create(self, request: Any, call: ApiCall) -> Any:
        name = self._names.topic(request.name)
        project = f"projects/{self._context.config.project}"
        self._context.allow(call.caller, "topics.create", project)
        check_topic(request)
        topic = Topic()
        topic.CopyFrom(request)
        self._schemas.check_settings(topic, call.caller)
        await self._schemas.prepare(topic)
        require_new(self._broker.saved.topics, name, most=MOST_TOPICS)
        return self.put(name, topic)

    def put(self, name: str, topic: Any) -> Any:
        """Store a topic under its full name, and return it."""
        topic.name, topic.state = name, Topic.ACTIVE
        live = self._broker.saved.topics.get(name)
        if live is None:
            live = LiveTopic(topic)
        with self._broker.saved.transaction():
            live.state = topic
            self._broker.saved.put_topic(live)
        return topic

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._find(request.topic, call, "get").state

    async def update(self, request: Any, call: ApiCall) -> Any:
        live = self._find(request.topic.name, call, "update")
        fixed = {"name", "state"}
        topic = changed(live.state, request.topic, request.update_mask, immutable=fixed)
        check_topic(topic)
        if topic.schema_settings != live.state.schema_settings:
            self._schemas.check_settings(topic, call.caller)
            await self._schemas.prepare(topic)
            live = self._context.topic(live.state.name)  # which may be gone meanwhile
        return self.put(live.state.name, topic)

    async def list_topics(self, request: Any, call: ApiCall) -> Any:
        project = self._names.project(request.project)
        self._context.allow(call.caller, "topics.list", project)
        topics = self._broker.saved.topics
        names, token = page_of(topics, request)
        return types.ListTopicsResponse.pb()(
            topics=[topics[name].state for name in names], next_page_token=token
        )

    async def delete(self, request: Any, call: ApiCall) -> Any:
        live = self._find(request.topic, call, "delete")
        self._broker.delete_topic(live)
        self._context.guard.forget(live.state.name)
        return empty_pb2.Empty()

    async def list_subscriptions(self, request: Any, call: ApiCall) -> Any:
        live = self._find(request.topic, call, "get")
        attached = [each.name for each in self._broker.subscriptions_of(live)]
        names, token = page_of(attached, request)
        return types.ListTopicSubscriptionsResponse.pb()(subscriptions=names, next_page_token=token)

    async def list_snapshots(self, request: Any, call: ApiCall) -> Any:
        live = self._find(request.topic, call, "get")
        self._broker.expire_snapshots()
        snapshots = self._broker.saved.snapshots.values()
        of = [each.state.name for each in snapshots if each.state.topic == live.state.name]
        names, token = page_of(of, request)
        return types.ListTopicSnapshotsResponse.pb()(snapshots=names, next_page_token=token)

    async def publish(self, request: Any, call: ApiCall) -> Any:
        live = self._find(request.topic, call, "publish")
        check_messages(request.messages)
        if live.state.HasField("schema_settings"):
            await self._schemas.prepare(live.state)
            live = self._context.topic(live.state.name)  # which may be gone meanwhile
        ids = self._broker.publish(live, self._schemas.admitted(live.state, request.messages))
        return types.PublishResponse.pb()(message_ids=ids)

    def _find(self, text: str, call: ApiCall, verb: str) -> LiveTopic:
        name = self._names.topic(text)
        self._context.allow(call.caller, f"topics.{verb}", name)
        return self._context.topic(name)
