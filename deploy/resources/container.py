"""The container of a Cloud Run job or service: what both kinds have in common."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.cloud import run_v2

from deploy.resource import Settings, shown_variable

_CLOUDSQL = "cloudsql"
_SOCKETS = "/cloudsql"
_LATEST = "latest"
_PRIVATE_ONLY = run_v2.VpcAccess.VpcEgress.PRIVATE_RANGES_ONLY


@dataclass(frozen=True, kw_only=True)
class RunContainer:
    """An image with its variables and limits.

    `secrets` maps variables to names of secrets, of which the newest version is read when an instance
    starts. `database` is the connection name of a Cloud SQL instance, whose socket is mounted below
    `/cloudsql`. `network` is the short name of a VPC network through which private addresses are reached.
    """

    image: str
    account: str
    cpu: str
    memory: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    network: str = ""

    def settings(self) -> dict[str, Any]:
        """Return what is compared of a container; `read_container` is its counterpart."""
        return {
            "image": self.image,
            "account": self.account,
            "cpu": self.cpu,
            "memory": self.memory,
            "args": list(self.args),
            "env": dict(self.env),
            "secrets": dict(self.secrets),
            "database": _mounted(self.database, _SOCKETS) if self.database else "",
            "network": _reached(self.network, _PRIVATE_ONLY) if self.network else "",
        }

    def message(self, **more: Any) -> run_v2.Container:
        """Return the container as the API takes it, with further fields."""
        plain = [run_v2.EnvVar(name=name, value=value) for name, value in self.env.items()]
        mounts = [run_v2.VolumeMount(name=_CLOUDSQL, mount_path=_SOCKETS)]
        return run_v2.Container(
            image=self.image,
            args=self.args,
            env=[*plain, *(_from_secret(*each) for each in self.secrets.items())],
            resources=run_v2.ResourceRequirements(
                limits={"cpu": self.cpu, "memory": self.memory}, **more.pop("resources", {})
            ),
            volume_mounts=mounts if self.database else [],
            **more,
        )

    def volumes(self) -> list[run_v2.Volume]:
        """Return the volumes that the container mounts."""
        if not self.database:
            return []
        instance = run_v2.CloudSqlInstance(instances=[self.database])
        return [run_v2.Volume(name=_CLOUDSQL, cloud_sql_instance=instance)]

    def egress(self) -> run_v2.VpcAccess | None:
        """Return the way to the network: direct egress, for private addresses only.

        See https://cloud.google.com/run/docs/configuring/vpc-direct-vpc. The subnet is that of the
        network's name in the region, which networks in auto mode have.
        """
        if not self.network:
            return None
        interface = run_v2.VpcAccess.NetworkInterface(network=self.network)
        return run_v2.VpcAccess(egress=_PRIVATE_ONLY, network_interfaces=[interface])

    def flags(self) -> dict[str, str]:
        """Return the flags of `gcloud run`, with digests in place of secret values.

        Values of variables may have commas and @: hence `^~^`.
        """
        env = [f"{name}={shown_variable(name, value)}" for name, value in self.env.items()]
        return {
            "image": self.image,
            "service_account": self.account,
            "cpu": self.cpu,
            "memory": self.memory,
            "args": ",".join(self.args),
            "set_env_vars": "^~^" + "~".join(env) if env else "",
            "set_secrets": ",".join(f"{k}={v}:latest" for k, v in self.secrets.items()),
            "set_cloudsql_instances": self.database,
            "network": self.network,
            "vpc_egress": "private-ranges-only" if self.network else "",
        }


def read_container(template: Any) -> dict[str, Any]:
    """Return the settings of the container of a revision or task template."""
    container = template.containers[0]
    plain = {each.name: each.value for each in container.env if not _secret_of(each)}
    mounts = {each.name: each.mount_path for each in container.volume_mounts}
    mounted = [
        _mounted(one, mounts.get(volume.name, ""))
        for volume in template.volumes
        for one in volume.cloud_sql_instance.instances
    ]
    networks = [
        _reached(each.network.rpartition("/")[2], template.vpc_access.egress)
        for each in template.vpc_access.network_interfaces
    ]
    return {
        "image": container.image,
        "account": template.service_account,
        "cpu": _cpu(container.resources.limits.get("cpu", "")),
        "memory": container.resources.limits.get("memory", ""),
        "args": list(container.args),
        "env": plain,
        "secrets": {e.name: name for e in container.env if (name := _secret_of(e))},
        "database": ",".join(mounted),
        "network": ",".join(networks),
    }


def other_labels(name: str, template: Any, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return the labels of a template under `name`, unless they are as wanted."""
    found = dict(template.labels)
    return {} if found == wanted else {name: found}


def digest(settings: Settings) -> str:
    """Return six characters that differ when settings do, for names."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _from_secret(variable: str, secret: str) -> run_v2.EnvVar:
    selector = run_v2.SecretKeySelector(secret=secret, version=_LATEST)
    return run_v2.EnvVar(name=variable, value_source=run_v2.EnvVarSource(secret_key_ref=selector))


def _secret_of(variable: Any) -> str:
    """Return the secret that a variable has its value of, with the version unless it is the newest."""
    reference = variable.value_source.secret_key_ref
    name = str(reference.secret).rpartition("/")[2]
    return name if reference.version in ("", _LATEST) else f"{name}:{reference.version}"


def _mounted(connection: str, path: str) -> str:
    return f"{connection} at {path or 'no path'}"


def _reached(network: str, egress: int) -> str:
    """Return a network, and what goes there unless it is traffic to private addresses only."""
    return network if egress == _PRIVATE_ONLY else f"{network} with all traffic"


def _cpu(text: str) -> str:
    """Return whole processors as Cloud Run's own pages write them: `1`, not `1000m`."""
    return text.removesuffix("000m") if text.endswith("000m") else text
