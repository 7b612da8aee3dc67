"""Messages of a service about its own changes, on their way to topics of Pub/Sub.

A message is stored with its change and published right after it, by the account of the service, which
needs the permission for the topic. A message that a killed emulator, or one with a full disk, did not
publish follows at the next start or with the next message; it may come twice, as with Google.
"""

import json
import logging
import sqlite3
from collections import deque
from collections.abc import Mapping
from itertools import count
from typing import Any

from devenv.gcp.caller import ApiCaller, Guard
from devenv.gcp.delivery import Topics
from devenv.gcp.errors import CloudError, NotFound
from devenv.gcp.store import Table

_PUBLISH = "pubsub.topics.publish"
log = logging.getLogger(__name__)


class Outbox:
    """The messages of one service that are not published yet, in their order."""

    def __init__(
        self, table: Table, agent: ApiCaller, guard: Guard, topics: Topics | None = None
    ) -> None:
        """Publish as `agent`; without topics, nothing until they are set."""
        self.topics = topics
        self._table = table
        self._agent = agent
        self._guard = guard
        # The next publication asks for these alone, not the table. Those of a transaction that was
        # rolled back are not in it.
        self._keys = deque(key for key, _ in table.scan())
        # Continued over restarts; a clock that is set back would change the order.
        self._numbers = count(int(self._keys[-1]) + 1 if self._keys else 1)

    def check(self, topic: str) -> None:
        """Raise CloudError unless a topic exists and the service's account may publish to it."""
        if self.topics is None or not self.topics.has(topic):
            raise NotFound(f"Topic [{topic[:300]}] not found.")
        self._guard.require(self._agent, _PUBLISH, topic)

    def add(self, topic: str, data: str, attributes: Mapping[str, str]) -> None:
        """Store a message, inside the transaction of its change."""
        key = f"{next(self._numbers):020d}"
        message = {"topic": topic, "payload": data, "attributes": dict(attributes)}
        self._table.put(key, json.dumps(message).encode())
        self._keys.append(key)

    def publish(self) -> None:
        """Publish what is stored; a topic that is gone or forbidden does without its messages."""
        try:
            while self._keys and self.topics is not None:
                if (stored := self._table.get(self._keys[0])) is not None:
                    self._publish(self.topics, json.loads(stored))
                    self._table.delete(self._keys[0])
                self._keys.popleft()
        except sqlite3.Error as error:  # the change is made all the same
            log.warning("%d messages wait to be published: %s", len(self._keys), error)

    def _publish(self, topics: Topics, message: Mapping[str, Any]) -> None:
        topic, attributes = message["topic"], message["attributes"]
        try:
            self._guard.require(self._agent, _PUBLISH, topic)
            topics.publish(topic, message["payload"].encode(), attributes)
        except CloudError as error:
            log.warning("%s was not published to %s: %s", attributes["eventType"], topic, error)
