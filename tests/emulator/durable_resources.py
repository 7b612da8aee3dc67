"""Resources of all kinds for tests of durability: created, deleted, and read again by REST."""

import random
from typing import Any

import httpx

PROJECT = "local-project"
_GLOBAL = f"projects/{PROJECT}"
_REGIONAL = f"{_GLOBAL}/locations/us-west1"
_DOMAINS = f"apis/domains.cloudrun.com/v1/namespaces/{PROJECT}/domainmappings"
_BUDGETS = "v1/billingAccounts/012345-567890-ABCDEF/budgets"
_AVRO = '{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}'
_LOG_BUCKET = f"logging.googleapis.com/{_GLOBAL}/locations/global/buckets/_Default"
_FILTER = "severity>=ERROR"


def _bodies(name: str) -> dict[str, dict[str, Any]]:
    """Return what creates a resource of this name in each collection."""
    domain = {
        "metadata": {"name": f"{name}.example.com", "namespace": PROJECT},
        "spec": {"routeName": "web"},
    }
    kind = {"apiVersion": "domains.cloudrun.com/v1", "kind": "DomainMapping"}
    budget = {"specifiedAmount": {"currencyCode": "USD", "units": "5"}}
    role = {"includedPermissions": ["run.jobs.get"]}
    return {
        f"v2/{_GLOBAL}/sinks": {"name": name, "destination": _LOG_BUCKET},
        f"v2/{_GLOBAL}/metrics": {"name": name, "filter": _FILTER},
        f"v2/{_GLOBAL}/exclusions": {"name": name, "filter": _FILTER},
        f"v2/{_GLOBAL}/locations/global/buckets?bucketId={name}": {"retentionDays": 7},
        f"v1/{_GLOBAL}/schemas?schemaId={name}": {"type": "AVRO", "definition": _AVRO},
        f"v1/{_GLOBAL}/roles": {"roleId": name, "role": role},
        f"v1/{_REGIONAL}/repositories?repositoryId={name}": {"format": "DOCKER"},
        f"v2/{_REGIONAL}/queues": {"name": f"{_REGIONAL}/queues/{name}"},
        f"compute/v1/{_GLOBAL}/global/networks": {"name": name, "autoCreateSubnetworks": False},
        f"compute/v1/{_GLOBAL}/global/addresses": {"name": name},
        _DOMAINS: {**kind, **domain},
        _BUDGETS: {"displayName": name, "amount": budget},
    }


class DurableResources:
    """The resources whose creation was confirmed, and those whose deletion was."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.deleted: list[str] = []
        self._count = 0

    def act(self, cloud: httpx.Client, choice: random.Random) -> None:
        """Create a resource, each time of the next kind, or delete one."""
        if self.kept and choice.random() < 1 / 3:
            path = self.kept.pop(choice.randrange(len(self.kept)))
            cloud.delete(path).raise_for_status()
            self.deleted.append(path)
            return
        self._count += 1
        bodies = _bodies(name := f"kept{self._count}")
        kind = list(bodies)[self._count % len(bodies)]
        answer = cloud.post(kind, json=bodies[kind]).raise_for_status().json()
        if kind == _BUDGETS:  # which gets its name from the cloud
            self.kept.append(f"v1/{answer['name']}")
        else:
            name = bodies[kind].get("metadata", {}).get("name", name)
            self.kept.append(f"{kind.partition('?')[0]}/{name}")
