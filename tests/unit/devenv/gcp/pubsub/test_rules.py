"""Fields and names of Pub/Sub that are refused, and those that are filled in."""

import pytest
from google.pubsub_v1 import types

from devenv.gcp.errors import AlreadyExists, InvalidArgument, ResourceExhausted
from devenv.gcp.pubsub.context import require_new
from devenv.gcp.pubsub.rules import complete_subscription

NAME = "projects/p/topics/t"


def test_new_name_is_refused_if_taken_or_beyond_the_most() -> None:
    with pytest.raises(AlreadyExists, match="resource=t"):
        require_new({NAME: None}, NAME, most=2)
    with pytest.raises(ResourceExhausted, match="has 1 topics already"):
        require_new({NAME: None}, f"{NAME}-2", most=1)


@pytest.mark.parametrize(
    "attributes", [{"x-goog-version": "v1beta1"}, {"other": "v1"}], ids=["format", "key"]
)
def test_push_attribute_without_effect_is_refused(attributes: dict[str, str]) -> None:
    push = {"push_endpoint": "https://worker/", "attributes": attributes}
    with pytest.raises(InvalidArgument, match="is not emulated"):
        complete_subscription(types.Subscription.pb()(push_config=push))


def test_output_only_retention_of_the_topic_is_ignored() -> None:
    wanted = types.Subscription.pb()(topic_message_retention_duration={"seconds": 600})
    complete_subscription(wanted)
    assert not wanted.HasField("topic_message_retention_duration")
