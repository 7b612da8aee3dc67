"""Containers and volumes: Knative's shape to that of v2, and back.

The two shapes differ in how they name secrets; everything else has the same JSON names, so that a
field that is not emulated is refused by its name in v2.
"""

from collections.abc import Callable
from typing import TypeAlias

from devenv.gcp.errors import Unimplemented
from devenv.gcp.rpc.json_methods import Json
from devenv.gcp.run_v1.wire import OWN

_ALIASES = f"{OWN}secrets"  # `ALIAS:projects/P/secrets/S,…`: secrets of other projects
_REFUSED = {
    f"{OWN}vpc-access-connector",
    f"{OWN}vpc-access-egress",
    f"{OWN}network-interfaces",
    f"{OWN}cloudsql-instances",
    f"{OWN}container-dependencies",
    f"{OWN}encryption-key",
}
_GENERATIONS = {"gen1": "EXECUTION_ENVIRONMENT_GEN1", "gen2": "EXECUTION_ENVIRONMENT_GEN2"}

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
    generation = annotations.get(f"{OWN}execution-environment", "")
    return {
        **found,
        **({"volumes": volumes} if volumes else {}),
        **({"serviceAccount": name} if (name := spec.get("serviceAccountName")) else {}),
        **(
            {"executionEnvironment": _GENERATIONS.get(generation, generation)} if generation else {}
        ),
    }


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
    volumes = [_volume_of_v1(each) for each in told.get("volumes", [])]
    return {
        "containers": [_container_of_v1(each) for each in told.get("containers", [])],
        **({"volumes": volumes} if volumes else {}),
        **({"serviceAccountName": told["serviceAccount"]} if told.get("serviceAccount") else {}),
    }


def _container_of_v1(told: Json) -> Json:
    made = dict(told)
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


def generation(told: Json) -> Json:
    """Return the annotation of a template's execution environment."""
    name = told.get("executionEnvironment", "").rpartition("_")[2].lower()
    return {f"{OWN}execution-environment": name} if name else {}
