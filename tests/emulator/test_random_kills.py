"""All kinds of resources under random `kill -9`: what was confirmed holds, nothing is lost."""

import base64
import random
from pathlib import Path
from typing import Any

import httpx

from tests.emulator.durable_resources import (
    KEPT_ALL,
    KEPT_TOPIC,
    SOFT_DELETED,
    DurableResources,
    read,
)
from tests.emulator.test_project_durability import PROJECT, running

TOPIC, NAME = f"{PROJECT}/topics/durable", f"{PROJECT}/subscriptions/durable"
SECRETS = f"{PROJECT}/secrets"
BUCKET, OBJECTS = "kept-bucket", ("a", "b", "c", "d")
_ROUNDS, _OPERATIONS = 3, 120
_CHOICES = ("publish", "pull", "ack", "secret", "object", "resource", "resource", "resource")


class CloudModel:
    """The changes that the emulator has confirmed so far."""

    def __init__(self) -> None:
        self.published: set[str] = set()
        self.acknowledged: set[str] = set()
        self.versions: list[str] = []
        self.changes: set[str] = set()  # versions and generations that messages tell of
        self.objects: dict[str, bytes] = {}
        self.resources = DurableResources()

    def act(self, cloud: httpx.Client, choice: random.Random) -> None:
        """Do one random operation, and note what it has confirmed."""
        match choice.choice(_CHOICES):
            case "resource":
                self.resources.act(cloud, choice)
            case "object":
                self.write(cloud, choice)
            case "publish":
                text = f"m{len(self.published)}-{choice.random()}"
                data = base64.b64encode(text.encode()).decode()
                post(cloud, f"{TOPIC}:publish", {"messages": [{"data": data}]})
                self.published.add(text)
            case "secret":
                value = str(choice.random())
                payload = {"payload": {"data": base64.b64encode(value.encode()).decode()}}
                made = post(cloud, f"{SECRETS}/durable:addVersion", payload)
                self.changes.add(made["name"])
                self.versions.append(value)
            case verb:
                for text, _, ack_id in pull(cloud, NAME, most=choice.randint(1, 5)):
                    assert text in self.published
                    assert text not in self.acknowledged
                    if verb == "ack":
                        post(cloud, f"{NAME}:acknowledge", {"ackIds": [ack_id]})
                        self.acknowledged.add(text)

    def write(self, cloud: httpx.Client, choice: random.Random) -> None:
        """Upload, overwrite or delete a small object."""
        name, data = choice.choice(OBJECTS), choice.randbytes(choice.randint(0, 3000))
        if name in self.objects and choice.random() < 1 / 3:
            cloud.delete(f"storage/v1/b/{BUCKET}/o/{name}").raise_for_status()
            del self.objects[name]
        else:
            url = f"upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
            made = cloud.post(url, content=data).raise_for_status().json()
            self.changes.add(made["generation"])
            self.objects[name] = data


def test_random_kills_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    model, choice = CloudModel(), random.Random(20_261_127)  # noqa: S311 - a repeatable order
    for round_number in range(_ROUNDS):
        with running(tmp_path) as (process, where), client(where) as cloud:
            if not round_number:
                prepare(cloud, model.resources)
            for _ in range(choice.randint(_OPERATIONS // 2, _OPERATIONS)):
                model.act(cloud, choice)
            # The last writes are in the log of the database, perhaps not yet in the database.
            for _ in range(3):
                model.write(cloud, choice)
            process.kill()
            process.wait()
    with running(tmp_path) as (_, where), client(where) as cloud:
        left = {text for text, _, _ in pull_all(cloud, NAME)}
        told = {
            attributes.get("versionId") or attributes.get("objectGeneration")
            for _, attributes, _ in pull_all(cloud, KEPT_ALL)
        }
        versions = f"{SECRETS}/durable/versions"
        count = cloud.get(versions).json()["totalSize"]
        latest = cloud.get(f"{versions}/latest:access").json()["payload"]["data"]
        found = {path: read(cloud, path) for path in model.resources.kept}
        objects = {
            name: answer.content
            for name in OBJECTS
            if (answer := cloud.get(f"storage/v1/b/{BUCKET}/o/{name}?alt=media")).is_success
        }
        gone = {path for path in model.resources.deleted if cloud.get(path).status_code == 200}

    assert found == model.resources.kept
    assert objects == model.objects
    assert {path for path in gone if path.split("/")[-2] not in SOFT_DELETED} == set()
    assert left == model.published - model.acknowledged
    assert model.changes <= told
    assert count == len(model.versions)
    assert base64.b64decode(latest).decode() == model.versions[-1]


def prepare(cloud: httpx.Client, resources: DurableResources) -> None:
    """Create what all operations need; each change of a secret or an object is told to a topic."""
    cloud.put(TOPIC, json={}).raise_for_status()
    topic = {"topic": TOPIC.removeprefix("v1/")}
    cloud.put(NAME, json=topic).raise_for_status()
    resources.prepare(cloud)
    told = {"replication": {"automatic": {}}, "topics": [{"name": KEPT_TOPIC}]}
    post(cloud, f"{SECRETS}?secretId=durable", told)
    configs = f"storage/v1/b/{BUCKET}/notificationConfigs"
    post(cloud, configs, {"topic": f"//pubsub.googleapis.com/{KEPT_TOPIC}"})


def client(where: dict[str, Any]) -> httpx.Client:
    return httpx.Client(base_url=where["plain"], trust_env=False)


def post(cloud: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return cloud.post(path, json=body).raise_for_status().json()


def pull(
    cloud: httpx.Client, subscription: str, *, most: int
) -> list[tuple[str, dict[str, str], str]]:
    """Return texts, attributes and ids of messages, which are leased."""
    answer = post(cloud, f"{subscription}:pull", {"maxMessages": most, "returnImmediately": True})
    return [
        (
            base64.b64decode(each["message"].get("data", "")).decode(),
            each["message"].get("attributes", {}),
            each["ackId"],
        )
        for each in answer.get("receivedMessages", [])
    ]


def pull_all(cloud: httpx.Client, subscription: str) -> list[tuple[str, dict[str, str], str]]:
    found = []
    while messages := pull(cloud, subscription, most=1000):
        found += messages
    return found
