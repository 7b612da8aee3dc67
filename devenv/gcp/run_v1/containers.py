"""Containers, volumes and networks: Knative's shape to that of v2, and back.

The two shapes differ in how they name secrets, and v1 has annotations for networks and for instances of
Cloud SQL; everything else has the same JSON names, so that a field that is not emulated is refused
by its name in v2.
"""

import json
from collections.abc import Callable
from typing import TypeAlias

from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.rpc.json_methods import Json
from devenv.gcp.run_v1.wire import OWN, json_list

_ALIASES = f"{OWN}secrets"  # `ALIAS:projects/P/secrets/S,…`: secrets of other projects
_REFUSED = {
    f"{OWN}vpc-access-connector",
    f"{OWN}container-dependencies",
    f"{OWN}encryption-key",
}
_GENERATIONS = {"gen1": "EXECUTION_ENVIRONMENT_GEN1", "gen2": "EXECUTION_ENVIRONMENT_GEN2"}

_EGRESS, _INTERFACES = f"{OWN}vpc-access-egress", f"{OWN}network-interfaces"
_EGRESSES = {
    "private-ranges-only": "PRIVATE_RANGES_ONLY",
    "all-traffic": "ALL_TRAFFIC",
    "all": "ALL_TRAFFIC",
}
_SQL, _SQL_VOLUME, _SQL_FOLDER = f"{OWN}cloudsql-instances", "cloudsql", "/cloudsql"

SecretName: TypeAlias = Callable[[str], str]
"""Returns the secret that an alias stands for."""


def refuse(annotations: Json) -> None:
    """Refuse the annotations that ask for what is not emulated. Raises Unimplemented."""
    for name in sorted(_REFUSED & annotations.keys()):
        raise Unimplemented(f"annotation {name} is not emulated.")


def spec_of_v2(spec: Json, annotations: Json) -> Json:
    """Return the containers, volumes and account of a v1 template's spec as JSON of v2."""
    aliases = dict(
        each.strip().split(":", 1)
        for each in annotations.get(_ALIASES, "").split(",")
        if ":" in each
    )

    def secret(name: str) -> str:
        return str(aliases.get(name, name))

    found: Json = {
        "containers": [_container_of_v2(each, secret) for each in spec.get("containers", [])]
    }
    volumes = [_volume_of_v2(each, secret) for each in spec.get("volumes", [])]
    if instances := [each for each in annotations.get(_SQL, "").split(",") if each]:
        volumes.append({"name": _SQL_VOLUME, "cloudSqlInstance": {"instances": instances}})
        for container in found["containers"][:1]:
            mounts = container.setdefault("volumeMounts", [])
            mounts.append({"name": _SQL_VOLUME, "mountPath": _SQL_FOLDER})
    network = _network_of_v2(annotations)
    generation = annotations.get(f"{OWN}execution-environment", "")
    return {
        **found,
        **({"volumes": volumes} if volumes else {}),
        **({"vpcAccess": network} if network else {}),
        **({"serviceAccount": name} if (name := spec.get("serviceAccountName")) else {}),
        **(
            {"executionEnvironment": _GENERATIONS.get(generation, generation)} if generation else {}
        ),
    }


def _network_of_v2(annotations: Json) -> Json:
    """Return the VpcAccess that annotations ask for. Raises InvalidArgument."""
    interfaces = json_list(annotations.get(_INTERFACES, ""), _INTERFACES, of=dict)
    egress = annotations.get(_EGRESS, "")
    if egress and egress not in _EGRESSES:
        raise InvalidArgument(f"{_EGRESS} is {egress[:60]!r}; use {', '.join(_EGRESSES)}.")
    if egress and not interfaces:
        raise InvalidArgument(f"{_EGRESS} needs a network: set {_INTERFACES}.")
    chosen = {"egress": _EGRESSES[egress]} if egress else {}
    return {"networkInterfaces": interfaces, **chosen} if interfaces else {}


def _container_of_v2(given: Json, secret: SecretName) -> Json:
    made = {key: value for key, value in given.items() if key not in ("env", "imagePullPolicy")}
    made["env"] = [_variable_of_v2(each, secret) for each in given.get("env", [])]
    return made


def _variable_of_v2(given: Json, secret: SecretName) -> Json:
    if "valueFrom" not in given:
        return given
    reference = given["valueFrom"].get("secretKeyRef", {})
    source = {"secret": secret(reference.get("name", "")), "version": reference.get("key", "")}
    return {"name": given.get("name", ""), "valueSource": {"secretKeyRef": source}}


def _volume_of_v2(given: Json, secret: SecretName) -> Json:
    if "secret" not in given:
        return given
    source = given["secret"]
    items = [
        {**{k: v for k, v in item.items() if k != "key"}, "version": item.get("key", "")}
        for item in source.get("items", [])
    ]
    made = {k: v for k, v in source.items() if k not in ("secretName", "items")}
    made |= {"secret": secret(source.get("secretName", "")), "items": items}
    return {"name": given.get("name", ""), "secret": made}


def spec_of_v1(told: Json) -> Json:
    """Return the containers, volumes and account of a template of v2 as a v1 spec."""
    sockets = _sockets(told)
    volumes = [
        _volume_of_v1(each) for each in told.get("volumes", []) if each["name"] not in sockets
    ]
    return {
        "containers": [_container_of_v1(each, sockets) for each in told.get("containers", [])],
        **({"volumes": volumes} if volumes else {}),
        **({"serviceAccountName": told["serviceAccount"]} if told.get("serviceAccount") else {}),
    }


def _sockets(told: Json) -> dict[str, list[str]]:
    """Return the instances of Cloud SQL by the volumes that v1 has an annotation for."""
    volumes = told.get("volumes", [])
    found = {each["name"]: each.get("cloudSqlInstance", {}).get("instances") for each in volumes}
    return {name: instances for name, instances in found.items() if instances}


def _container_of_v1(told: Json, sockets: Json) -> Json:
    made = dict(told)
    mounts = [each for each in made.pop("volumeMounts", []) if each["name"] not in sockets]
    if mounts:
        made["volumeMounts"] = mounts
    if "env" in told:
        made["env"] = [_variable_of_v1(each) for each in told["env"]]
    made["resources"] = {"limits": told.get("resources", {}).get("limits", {})}
    return made


def _variable_of_v1(told: Json) -> Json:
    if "valueSource" not in told:
        return told
    reference = told["valueSource"]["secretKeyRef"]
    key = {"name": reference["secret"], "key": reference["version"]}
    return {"name": told["name"], "valueFrom": {"secretKeyRef": key}}


def _volume_of_v1(told: Json) -> Json:
    source = told.get("secret", {})
    items = [
        {"path": item["path"], "key": item.get("version", "latest")}
        for item in source.get("items", [])
    ]
    return {
        "name": told["name"],
        "secret": {"secretName": source.get("secret", ""), "items": items},
    }


def annotations_of_v1(told: Json) -> Json:
    """Return the annotations of a template: execution environment, network, instances of Cloud SQL."""
    environment = told.get("executionEnvironment", "").rpartition("_")[2].lower()
    access = told.get("vpcAccess", {})
    interfaces = access.get("networkInterfaces", [])
    egress = {value: name for name, value in reversed(_EGRESSES.items())}
    instances = [each for names in _sockets(told).values() for each in names]
    found = {
        f"{OWN}execution-environment": environment,
        _INTERFACES: json.dumps(interfaces, separators=(",", ":")) if interfaces else "",
        _EGRESS: egress.get(access.get("egress", ""), ""),
        _SQL: ",".join(instances),
    }
    return {name: value for name, value in found.items() if value}
