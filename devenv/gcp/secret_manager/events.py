"""Messages about secrets to their topics: changes, and when they are to rotate.

See https://docs.cloud.google.com/secret-manager/docs/event-notifications.
"""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict

from devenv.gcp.clock import rfc3339
from devenv.gcp.outbox import Outbox


def add_event(outbox: Outbox, event: str, secret: Any, version: Any = None, *, now: float) -> None:
    """Store the messages about an event, inside the transaction of its change."""
    attributes = {
        "eventType": event,
        "dataFormat": "JSON_API_V1",
        "secretId": secret.name,
        "timestamp": rfc3339(now),
    }
    if version is not None:
        attributes["versionId"] = version.name
    if event == "SECRET_DELETE":
        attributes["deleteType"] = "REQUESTED"
    data = json.dumps(MessageToDict(secret if version is None else version))
    for topic in secret.topics:
        outbox.add(topic.name, data, attributes)
