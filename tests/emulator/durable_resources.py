"""Resources of all kinds for tests of durability: created, changed, deleted, and read again by REST."""

import random
from typing import Any

import httpx

from tests.waiting import until

PROJECT = "local-project"
_GLOBAL = f"projects/{PROJECT}"
_REGIONAL = f"{_GLOBAL}/locations/us-west1"
_COMPUTE = f"compute/v1/{_GLOBAL}"
_NETWORK = f"{_GLOBAL}/global/networks/default"
_GATEWAY = f"{_GLOBAL}/global/gateways/default-internet-gateway"
_DOMAINS = f"apis/domains.cloudrun.com/v1/namespaces/{PROJECT}/domainmappings"
_BUDGETS = "v1/billingAccounts/012345-567890-ABCDEF/budgets"
_AVRO = '{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}'
_LOG_BUCKET = f"logging.googleapis.com/{_GLOBAL}/locations/global/buckets/_Default"
_FILTER = "severity>=ERROR"
_SQL = f"v1/{_GLOBAL}/instances"
_INSTANCE = {
    "databaseVersion": "POSTGRES_16",
    "region": "us-west1",
    "settings": {"tier": "db-f1-micro", "edition": "ENTERPRISE"},
}
_BUCKET = "kept-bucket"
KEPT_TOPIC = f"{_GLOBAL}/topics/kept-topic"
KEPT_ALL = f"v1/{_GLOBAL}/subscriptions/kept-all"
_SERIES = (
    'metric.type = "run.googleapis.com/request_count" AND resource.type = "cloud_run_revision"'
)
_THRESHOLD = {"filter": _SERIES, "comparison": "COMPARISON_GT", "duration": "300s"}
_HOST = {"type": "uptime_url", "labels": {"host": "example.org"}}
# Collections whose deleted resources can be read, and restored.
SOFT_DELETED = ("buckets", "roles", "workloadIdentityPools")
# A change of a resource, by its collection: the query and the fields that are sent.
_CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    f"v1/{_GLOBAL}/secrets": ("?updateMask=labels", {"labels": {"changed": "yes"}}),
    f"v2/{_REGIONAL}/queues": ("?updateMask=retryConfig", {"retryConfig": {"maxAttempts": 7}}),
    f"v3/{_GLOBAL}/alertPolicies": ("?updateMask=displayName", {"displayName": "changed"}),
    f"v3/{_GLOBAL}/notificationChannels": ("?updateMask=displayName", {"displayName": "changed"}),
    f"v3/{_GLOBAL}/uptimeCheckConfigs": ("?updateMask=displayName", {"displayName": "changed"}),
    f"{_COMPUTE}/global/firewalls": ("", {"description": "changed"}),
    _SQL: ("", {"settings": {"userLabels": {"changed": "yes"}}}),
    "storage/v1/b": ("", {"labels": {"changed": "yes"}}),
}


def _bodies(name: str) -> dict[str, dict[str, Any]]:
    """Return what creates a resource of this name in each collection."""
    return {
        **_project_bodies(name),
        **_message_bodies(name),
        **_network_bodies(name),
        _SQL: {"name": name, **_INSTANCE},
        f"{_SQL}/kept-sql/databases": {"name": name},
        f"{_SQL}/kept-sql/users": {"name": name, "password": "secret"},
        f"{_SQL}/kept-sql/backupRuns": {"description": name},
    }


def _project_bodies(name: str) -> dict[str, dict[str, Any]]:
    domain = {
        "metadata": {"name": f"{name}.example.com", "namespace": PROJECT},
        "spec": {"routeName": "web"},
    }
    kind = {"apiVersion": "domains.cloudrun.com/v1", "kind": "DomainMapping"}
    budget = {"specifiedAmount": {"currencyCode": "USD", "units": "5"}}
    role = {"includedPermissions": ["run.jobs.get"]}
    custom = {"type": f"custom.googleapis.com/{name}", "metricKind": "GAUGE", "valueType": "INT64"}
    condition = {"displayName": name, "conditionThreshold": _THRESHOLD}
    policy = {"displayName": name, "combiner": "OR", "conditions": [condition]}
    uptime = {"displayName": name, "monitoredResource": _HOST, "httpCheck": {"path": "/"}}
    email = {"type": "email", "labels": {"email_address": f"{name}@example.org"}}
    return {
        f"v2/{_GLOBAL}/sinks": {"name": name, "destination": _LOG_BUCKET},
        f"v2/{_GLOBAL}/metrics": {"name": name, "filter": _FILTER},
        f"v2/{_GLOBAL}/exclusions": {"name": name, "filter": _FILTER},
        f"v2/{_GLOBAL}/locations/global/buckets?bucketId={name}": {"retentionDays": 7},
        f"v2/{_GLOBAL}/locations/global/buckets/_Default/views?viewId={name}": {"description": "v"},
        f"v1/{_GLOBAL}/roles": {"roleId": name, "role": role},
        f"v1/{_GLOBAL}/serviceAccounts": {"accountId": name},
        f"v1/{_GLOBAL}/locations/global/workloadIdentityPools?workloadIdentityPoolId={name}": {},
        f"v1/{_REGIONAL}/repositories?repositoryId={name}": {"format": "DOCKER"},
        f"v3/{_GLOBAL}/alertPolicies": policy,
        f"v3/{_GLOBAL}/notificationChannels": email,
        f"v3/{_GLOBAL}/uptimeCheckConfigs": uptime,
        f"v3/{_GLOBAL}/metricDescriptors": custom,
        _DOMAINS: {**kind, **domain},
        _BUDGETS: {"displayName": name, "amount": budget},
    }


def _message_bodies(name: str) -> dict[str, dict[str, Any]]:
    queue = {"name": f"{_REGIONAL}/queues/{name}", "httpTarget": {"uriOverride": {"host": "a.org"}}}
    job = {"name": f"{_REGIONAL}/jobs/{name}", "schedule": "0 1 1 1 *"}
    secret = {"replication": {"automatic": {}}, "topics": [{"name": KEPT_TOPIC}]}
    files = {"topic": KEPT_TOPIC, "cloudStorageConfig": {"bucket": _BUCKET}}
    return {
        f"v1/{_GLOBAL}/schemas?schemaId={name}": {"type": "AVRO", "definition": _AVRO},
        f"v1/{_GLOBAL}/topics/{name}": {"labels": {"kept": "yes"}},
        f"v1/{_GLOBAL}/subscriptions/{name}": files,
        f"v1/{_GLOBAL}/snapshots/{name}": {"subscription": f"{_GLOBAL}/subscriptions/kept-all"},
        f"v1/{_GLOBAL}/secrets?secretId={name}": secret,
        f"v2/{_REGIONAL}/queues": queue,
        f"v1/{_REGIONAL}/jobs": {**job, "httpTarget": {"uri": "https://example.org/"}},
        f"storage/v1/b?project={PROJECT}": {"name": name},
        f"storage/v1/b/{_BUCKET}/notificationConfigs": {
            "topic": f"//pubsub.googleapis.com/{KEPT_TOPIC}",
            "payload_format": "JSON_API_V1",
        },
    }


def _network_bodies(name: str) -> dict[str, dict[str, Any]]:
    number = int(name.removeprefix("kept"))
    cidr = f"10.{number // 256 + 1}.{number % 256}.0/24"
    route = {"destRange": cidr, "nextHopGateway": _GATEWAY}
    return {
        f"{_COMPUTE}/global/networks": {"name": name, "autoCreateSubnetworks": False},
        f"{_COMPUTE}/global/addresses": {"name": name},
        f"{_COMPUTE}/global/firewalls": {"name": name, "allowed": [{"IPProtocol": "tcp"}]},
        f"{_COMPUTE}/global/routes": {"name": name, "network": _NETWORK, **route},
        f"{_COMPUTE}/regions/us-west1/subnetworks": {
            "name": name,
            "network": _NETWORK,
            "ipCidrRange": cidr,
        },
    }


class DurableResources:
    """The resources whose creation was confirmed, as they were read, and those that were deleted."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.deleted: list[str] = []
        self._count = 0

    def prepare(self, cloud: httpx.Client) -> None:
        """Create what others refer to."""
        cloud.post(f"storage/v1/b?project={PROJECT}", json={"name": _BUCKET}).raise_for_status()
        cloud.put(f"v1/{KEPT_TOPIC}", json={}).raise_for_status()
        _finish(cloud, cloud.post(_SQL, json={"name": "kept-sql", **_INSTANCE}))
        cloud.put(KEPT_ALL, json={"topic": KEPT_TOPIC}).raise_for_status()

    def act(self, cloud: httpx.Client, choice: random.Random) -> None:
        """Create a resource, each time of the next kind, or change or delete one."""
        draw = choice.random()
        if self.kept and draw < 1 / 4:
            path = choice.choice(list(self.kept))
            del self.kept[path]
            is_user = f"{_SQL}/kept-sql/users/" in path  # whom Cloud SQL wants in the query
            target = "?name=".join(path.rsplit("/", 1)) if is_user else path
            _finish(cloud, cloud.delete(target))
            self.deleted.append(path)
            return
        changed = [path for path in self.kept if path.rpartition("/")[0] in _CHANGES]
        if changed and draw < 1 / 3:
            path = choice.choice(changed)
            query, fields = _CHANGES[path.rpartition("/")[0]]
            _finish(cloud, cloud.patch(f"{path}{query}", json=fields))
        else:
            path = self._create(cloud)
        self.kept[path] = read(cloud, path)

    def _create(self, cloud: httpx.Client) -> str:
        self._count += 1
        bodies = _bodies(name := f"kept{self._count:03}")
        kind = list(bodies)[self._count % len(bodies)]
        collection, body = kind.partition("?")[0], bodies[kind]
        is_named = collection.endswith(f"/{name}")
        verb = "PUT" if is_named else "POST"
        made = _finish(cloud, cloud.request(verb, kind, json=body))
        if is_named:
            return collection
        own = str(made.get("name", ""))
        if "/" in own and "/operations/" not in own:
            return f"{collection.partition('/')[0]}/{own}"
        if "notificationConfigs" in kind:
            name = made["id"]
        elif "backupContext" in made:
            name = made["backupContext"]["backupId"]
        return f"{collection}/{body.get('metadata', {}).get('name', name)}"


def read(cloud: httpx.Client, path: str) -> Any:
    """Return a resource by REST, or the status of what is not found."""
    answer = cloud.get(path)
    return answer.json() if answer.is_success else answer.status_code


def _finish(cloud: httpx.Client, answer: httpx.Response) -> Any:
    """Return the answer of a request; wait for the operation if it is one of Cloud SQL."""
    made = answer.raise_for_status().json() if answer.content else {}
    if made.get("kind") == "sql#operation":
        path = f"v1/{_GLOBAL}/operations/{made['name']}"
        until(lambda: cloud.get(path).json()["status"] == "DONE", every=0.005)
    return made
