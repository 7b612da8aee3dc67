"""Names, limits and defaults of Pub/Sub: what callers may send.

See https://cloud.google.com/pubsub/quotas#resource_limits and google/pubsub/v1/pubsub.proto.
"""

import re
from typing import Any

from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import clean_url
from devenv.gcp.errors import InvalidArgument, wrong_project
from devenv.gcp.messages import every, refuse_unemulated, seconds
from devenv.gcp.pubsub.file_settings import FILE_FIELDS, complete_files
from devenv.gcp.pubsub.filters import parse_filter

types = client_types("google.pubsub_v1")

Topic, Subscription, Snapshot = (types.Topic.pb(), types.Subscription.pb(), types.Snapshot.pb())
PubsubMessage = types.PubsubMessage.pb()

SERVICE = "pubsub.googleapis.com"
DELETED_TOPIC = "_deleted-topic_"
DAY = 86_400.0
LEAST_DEADLINE, MOST_DEADLINE = 10, 600
MOST_MESSAGES, MOST_BYTES = 1000, 10_000_000
MOST_TOPICS, MOST_SUBSCRIPTIONS, MOST_SNAPSHOTS = 10_000, 10_000, 5_000
_MOST_ATTRIBUTES, _MOST_KEY, _MOST_VALUE, _MOST_ORDERING_KEY = 100, 256, 1024, 1024
_LEAST_RETENTION, _MOST_RETENTION = 600.0, 31 * DAY
_MOST_BACKOFF = 600.0

_ID = re.compile(r"[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")
_LABEL_KEY, _LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
_TOPIC_FIELDS = every(
    *("name", "labels", "message_retention_duration", "state"),
    schema_settings=every("schema", "encoding", "first_revision_id", "last_revision_id"),
)
_PUSH_FIELDS = every(
    *("push_endpoint", "attributes", "pubsub_wrapper"),
    oidc_token=every("service_account_email", "audience"),
    no_wrapper=every("write_metadata"),
)
_SUBSCRIPTION_FIELDS = every(
    *("name", "topic", "ack_deadline_seconds", "retain_acked_messages", "labels", "detached"),
    *("message_retention_duration", "enable_message_ordering", "expiration_policy", "filter"),
    *("enable_exactly_once_delivery", "topic_message_retention_duration", "state"),
    push_config=_PUSH_FIELDS,
    cloud_storage_config=FILE_FIELDS,
    dead_letter_policy=every("dead_letter_topic", "max_delivery_attempts"),
    retry_policy=every("minimum_backoff", "maximum_backoff"),
)


class PubSubNames:
    """Reads the names in requests; the project may be given by its number too."""

    def __init__(self, config: CloudConfig) -> None:
        self._projects = {config.project, config.number}
        self._project = f"projects/{config.project}"

    def project(self, text: str) -> str:
        name = text.removeprefix("projects/")
        if name not in self._projects:
            raise wrong_project(name.partition("/")[0][:100], SERVICE)
        return self._project

    def topic(self, text: str) -> str:
        return self._read("topics", text)

    def subscription(self, text: str) -> str:
        return self._read("subscriptions", text)

    def snapshot(self, text: str) -> str:
        return self._read("snapshots", text)

    def schema(self, text: str) -> str:
        return self._read("schemas", text)

    def any(self, text: str) -> str:
        """Return the full name of a topic, a subscription or a snapshot."""
        kind = text.split("/")[2] if text.count("/") == 3 else ""
        return self._read(kind if kind in ("subscriptions", "snapshots") else "topics", text)

    def _read(self, kind: str, text: str) -> str:
        parts = text.split("/", 3)
        if len(parts) != 4 or (parts[0], parts[2]) != ("projects", kind):
            raise InvalidArgument(_INVALID_NAME.format(name=text[:300]))
        if parts[1] not in self._projects:
            raise wrong_project(parts[1][:100], SERVICE)
        if not _ID.fullmatch(parts[3]) or parts[3].lower().startswith("goog"):
            raise InvalidArgument(_INVALID_NAME.format(name=text[:300]))
        return f"{self._project}/{kind}/{parts[3]}"


_INVALID_NAME = (
    "Invalid resource name given (name={name}). Refer to "
    "https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names for more information."
)


def check_topic(topic: Any) -> None:
    """Refuse a topic with values that Pub/Sub does not accept. Raises InvalidArgument."""
    refuse_unemulated(topic, _TOPIC_FIELDS, where="topic")
    check_labels(topic.labels)
    if topic.HasField("message_retention_duration"):
        _check_retention(topic.message_retention_duration)


def complete_subscription(subscription: Any) -> None:
    """Check a subscription, and fill in Google's defaults. Raises InvalidArgument."""
    refuse_unemulated(subscription, _SUBSCRIPTION_FIELDS, where="subscription")
    check_labels(subscription.labels)
    subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or LEAST_DEADLINE
    if not LEAST_DEADLINE <= subscription.ack_deadline_seconds <= MOST_DEADLINE:
        raise InvalidArgument(
            f"Invalid ack deadline given: {subscription.ack_deadline_seconds}. It must be between "
            f"{LEAST_DEADLINE} and {MOST_DEADLINE} seconds."
        )
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.seconds = int(7 * DAY)
    _check_retention(subscription.message_retention_duration)
    if not subscription.HasField("expiration_policy"):
        subscription.expiration_policy.ttl.seconds = int(31 * DAY)
    ttl = subscription.expiration_policy.ttl
    if subscription.expiration_policy.HasField("ttl") and seconds(ttl) < DAY:
        raise InvalidArgument("expiration_policy.ttl must be at least 1 day.")
    parse_filter(subscription.filter)
    _complete_delivery(subscription)
    if subscription.HasField("retry_policy"):
        _complete_retry(subscription.retry_policy)
    if subscription.HasField("dead_letter_policy"):
        _complete_dead_letter(subscription.dead_letter_policy)
    subscription.state = Subscription.ACTIVE
    subscription.ClearField("topic_message_retention_duration")


def _complete_delivery(subscription: Any) -> None:
    """Check where the messages of a subscription go, if they are not pulled."""
    _check_push(subscription.push_config)
    is_pushed = bool(subscription.push_config.push_endpoint)
    if subscription.enable_exactly_once_delivery and is_pushed:
        raise InvalidArgument("Exactly-once delivery is not available to push subscriptions.")
    if subscription.HasField("cloud_storage_config"):
        complete_files(subscription.cloud_storage_config)
        if is_pushed or subscription.enable_exactly_once_delivery:
            raise InvalidArgument(
                "cloud_storage_config excludes push_config and exactly-once delivery."
            )


def _check_push(push: Any) -> None:
    """Refuse a push configuration without a usable endpoint. Raises InvalidArgument."""
    refuse_unemulated(push, _PUSH_FIELDS, where="push_config")
    for name, value in push.attributes.items():
        if name != "x-goog-version" or value not in ("v1", "v1beta2"):
            raise InvalidArgument(
                f"push_config.attributes: {name[:100]}={value[:100]} is not emulated; requests have "
                "the format x-goog-version=v1."
            )
    if not push.push_endpoint:
        if push.WhichOneof("authentication_method"):
            raise InvalidArgument("push_config.oidc_token needs a push_config.push_endpoint.")
        return
    if not push.push_endpoint.startswith(("https://", "http://")):
        raise InvalidArgument(f"Invalid push endpoint given (endpoint={push.push_endpoint[:300]}).")
    clean_url(push.push_endpoint, empty="")
    if push.HasField("oidc_token") and not push.oidc_token.service_account_email:
        raise InvalidArgument("push_config.oidc_token.service_account_email is missing.")


def check_messages(messages: Any) -> None:
    """Refuse a publish request over Google's limits. Raises InvalidArgument."""
    if not messages:
        raise InvalidArgument("The request has no messages: messages is empty.")
    _check_most("message_count", len(messages), MOST_MESSAGES)
    _check_most("request_size", sum(each.ByteSize() for each in messages), MOST_BYTES)
    for message in messages:
        _check_message(message)


def _check_message(message: Any) -> None:
    if not message.data and not message.attributes:
        raise InvalidArgument(
            "One or more messages in the publish request is empty. Each message must contain either "
            "non-empty data, or at least one attribute."
        )
    _check_most("attribute_count", len(message.attributes), _MOST_ATTRIBUTES)
    _check_most("ordering_key", len(message.ordering_key.encode()), _MOST_ORDERING_KEY)
    for key, value in message.attributes.items():
        if not key or key.startswith("goog"):
            raise InvalidArgument(
                f"The attribute key {key[:100]!r} is not allowed: a key is not empty, and does not "
                "begin with 'goog'."
            )
        _check_most("attribute_key", len(key.encode()), _MOST_KEY)
        _check_most("attribute_value", len(value.encode()), _MOST_VALUE)


def _check_most(what: str, size: int, most: int) -> None:
    if size > most:
        raise InvalidArgument(
            f"The value for {what} is too large. You passed {size} in the request, but the maximum "
            f"value is {most}."
        )


def check_labels(labels: Any) -> None:
    """Refuse labels that Google's rules do not allow. Raises InvalidArgument."""
    _check_most("labels", len(labels), 64)
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL.fullmatch(value):
            raise InvalidArgument(f"The label {key[:70]}={value[:70]} is not valid.")


def _check_retention(duration: Any) -> None:
    if not _LEAST_RETENTION <= seconds(duration) <= _MOST_RETENTION:
        raise InvalidArgument(
            f"Invalid retention duration given: {seconds(duration):g} seconds. It must be between "
            "10 minutes and 31 days."
        )


def _complete_retry(policy: Any) -> None:
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.seconds = 10
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.seconds = int(_MOST_BACKOFF)
    least, most = seconds(policy.minimum_backoff), seconds(policy.maximum_backoff)
    if not 0 <= least <= most <= _MOST_BACKOFF:
        raise InvalidArgument(
            f"Invalid retry policy given: minimum_backoff {least:g} s and maximum_backoff {most:g} s "
            "must be between 0 and 600 s, the minimum not above the maximum."
        )


def _complete_dead_letter(policy: Any) -> None:
    policy.max_delivery_attempts = policy.max_delivery_attempts or 5
    if not 5 <= policy.max_delivery_attempts <= 100:
        raise InvalidArgument(
            f"Invalid max_delivery_attempts given: {policy.max_delivery_attempts}. It must be "
            "between 5 and 100."
        )
    if not policy.dead_letter_topic:
        raise InvalidArgument("dead_letter_policy.dead_letter_topic is missing.")
