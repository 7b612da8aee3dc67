"""Notifications of secrets: messages to their topics about changes, and when they are to rotate.

A message is stored with its change and published right after it, by the account of Secret Manager
itself. See https://docs.cloud.google.com/secret-manager/docs/event-notifications.
"""

import json
import logging
from itertools import count
from typing import Any

from google.protobuf.json_format import MessageToDict

from devenv.gcp.caller import ApiCaller, Guard
from devenv.gcp.clock import Clock, rfc3339
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import Topics
from devenv.gcp.errors import CloudError, NotFound
from devenv.gcp.store import Store

_PUBLISH = "pubsub.topics.publish"
log = logging.getLogger(__name__)


class SecretEvents:
    """The events of all secrets; those that an earlier process stored follow at the next start."""

    topics: Topics | None = None

    def __init__(self, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._table = store.table("secret_events")
        self._numbers = count()
        self._clock = clock
        self._guard = guard
        email = f"service-{config.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
        self._agent = ApiCaller(email)

    def check(self, secret: Any) -> None:
        """Raise CloudError unless the account of Secret Manager may publish to all topics."""
        for topic in secret.topics:
            if self.topics is None or not self.topics.has(topic.name):
                raise NotFound(f"Topic [{topic.name}] not found.")
            self._guard.require(self._agent, _PUBLISH, topic.name)

    def keep(self, event: str, secret: Any, version: Any = None) -> None:
        """Store an event, inside the transaction of its change."""
        if not secret.topics:
            return
        now = self._clock.now()
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
        row = {
            "topics": [topic.name for topic in secret.topics],
            "attributes": attributes,
            "data": MessageToDict(secret if version is None else version),
        }
        key = f"{now:020.6f}-{next(self._numbers):06}"
        self._table.put(key, json.dumps(row).encode())

    def publish(self) -> None:
        """Publish what is stored; a topic that is gone or forbidden does without."""
        for key, value in list(self._table.scan()):
            row = json.loads(value)
            data = json.dumps(row["data"]).encode()
            for topic in row["topics"]:
                try:
                    self._guard.require(self._agent, _PUBLISH, topic)
                    if self.topics is not None:
                        self.topics.publish(topic, data, row["attributes"])
                except CloudError as error:
                    kind = row["attributes"]["eventType"]
                    log.warning("%s was not published to %s: %s", kind, topic, error)
            self._table.delete(key)
