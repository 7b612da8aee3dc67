"""Pages of Pub/Sub: topics and subscriptions, publication, and messages without leases."""

import base64
import datetime as dt
import json
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.console.cloud import PUBSUB, CloudClient
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell, readable_body

_DEAD_LETTER = "CloudPubSubDeadLetterSourceSubscription"


class PubSubPages:
    """Routes of topics and subscriptions."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        topic, subscription = "/pubsub/topics/{topic}", "/pubsub/subscriptions/{subscription}"
        return [
            Route("/pubsub", self.overview),
            Route(topic, self.topic),
            Route(f"{topic}/publish", act(self.publish, most_bytes=12_000_000), methods=post),
            Route(subscription, self.subscription),
            Route(f"{subscription}/purge", act(self.purge), methods=post),
            Route(f"{subscription}/seek", act(self.seek), methods=post),
        ]

    def overview(self, request: Request) -> Response:
        found = self._cloud.control("subscriptions")
        every = found["subscriptions"]
        return self._shell.page(
            request,
            "pubsub.html",
            place="pubsub",
            topics=[(name, _of_topic(every, name)) for name in found["topics"]],
            subscriptions=every,
        )

    def topic(self, request: Request) -> Response:
        topic = self._cloud.api(PUBSUB, f"/v1/{self._topic(request)}")
        every = self._cloud.control("subscriptions")["subscriptions"]
        return self._shell.page(
            request,
            "topic.html",
            place="pubsub",
            topic=topic,
            subscriptions=_of_topic(every, topic["name"]),
            dead_letters_of=[one for one in every if one["dead_letter_topic"] == topic["name"]],
        )

    def publish(self, request: Request, form: FormData) -> str:
        copied = str(form.get("copy", ""))
        message = _copied(copied) if copied else _typed(form)
        answer = self._cloud.api(
            PUBSUB,
            f"/v1/{self._topic(request)}:publish",
            verb="POST",
            body={"messages": [message]},
        )
        return f"Message {answer['messageIds'][0]} published."

    def subscription(self, request: Request) -> Response:
        name, after = self._subscription(request), request.query_params.get("after", "")
        found = self._cloud.control("messages", subscription=name, after=after)
        resource = self._cloud.api(PUBSUB, f"/v1/{name}")
        every = self._cloud.control("subscriptions")["subscriptions"]
        return self._shell.page(
            request,
            "subscription.html",
            place="pubsub",
            subscription=resource,
            figures=next((one for one in every if one["name"] == name), {}),
            messages=[_shown(message) for message in found["messages"]],
            is_first=not after,
            next_page=found["next"],
            snapshots=self._snapshots(resource["topic"]),
        )

    def purge(self, request: Request, _form: FormData) -> str:
        # A message may have been published within this microsecond.
        until = dt.datetime.fromtimestamp(self._cloud.now() + 1, dt.UTC)
        self._seek(request, time=until.isoformat())
        return f"{request.path_params['subscription']} emptied."

    def seek(self, request: Request, form: FormData) -> str:
        snapshot, text = str(form.get("snapshot", "")), str(form.get("time", "")).strip()
        if bool(snapshot) == bool(text):
            raise ConsoleProblem("time, snapshot: fill in one of both.")
        if snapshot:
            self._seek(request, snapshot=snapshot)
            return f"Messages are as in the snapshot {snapshot.rpartition('/')[2]}."
        try:
            # A time without a zone is one of this machine, as all times of the pages.
            moment = dt.datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError) as error:
            raise ConsoleProblem(
                f"time is {text[:60]!r}; write it like 2027-01-31T12:00:00."
            ) from error
        self._seek(request, time=moment.isoformat())
        return f"Messages published since {text} are delivered again."

    def _seek(self, request: Request, **target: str) -> None:
        path = f"/v1/{self._subscription(request)}:seek"
        self._cloud.api(PUBSUB, path, verb="POST", body=target)

    def _snapshots(self, topic: str) -> list[str]:
        """Return the names of the snapshots of a topic, none of a deleted one."""
        if "/" not in topic:
            return []
        answer = self._cloud.api(PUBSUB, f"/v1/{topic}/snapshots")
        names: list[str] = answer.get("snapshots", [])
        return names

    def _topic(self, request: Request) -> str:
        return self._full("topics", request.path_params["topic"])

    def _subscription(self, request: Request) -> str:
        return self._full("subscriptions", request.path_params["subscription"])

    def _full(self, kind: str, name: str) -> str:
        return f"projects/{self._cloud.control('project')['project']}/{kind}/{quote(name, safe='')}"


def _copied(text: str) -> Any:
    """Return the message of a button that publishes one again. Raises ConsoleProblem."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConsoleProblem("copy: this is not the JSON of a message.") from error


def _typed(form: FormData) -> dict[str, Any]:
    """Return the message of the form's fields. Raises ConsoleProblem."""
    data = str(form.get("data", ""))
    return {
        # A browser sends the line ends of a text field as CR LF.
        "data": base64.b64encode(data.replace("\r\n", "\n").encode()).decode(),
        "attributes": attributes_of(str(form.get("attributes", ""))),
        "orderingKey": str(form.get("ordering_key", "")),
    }


def attributes_of(text: str) -> dict[str, str]:
    """Return the attributes of lines `name=value`. Raises ConsoleProblem."""
    attributes: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals:
            raise ConsoleProblem(f"attributes: {line[:60]!r} is not name=value.")
        attributes[name.strip()] = value.strip()
    return attributes


def _of_topic(subscriptions: list[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    return [one for one in subscriptions if one["topic"] == topic and not one["detached"]]


def _shown(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of the control API with its data as text, and a copy to publish again."""
    data = message.get("data", "")
    names = ("data", "attributes", "orderingKey")
    is_whole = len(base64.b64decode(data)) == message["size"]
    return message | {
        "whole": json.dumps({name: message.get(name) for name in names}) if is_whole else "",
        "text": readable_body(data, size=message["size"]),
        "dead_letter_of": message.get("attributes", {}).get(_DEAD_LETTER, ""),
    }
