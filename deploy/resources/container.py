"""The container of a Cloud Run job or service: what both kinds have in common."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.cloud import run_v2

from deploy.resource import Settings

_CLOUDSQL = "cloudsql"


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
            "database": self.database,
            "network": self.network,
        }

    def message(self, **more: Any) -> run_v2.Container:
        """Return the container as the API takes it, with further fields."""
        plain = [run_v2.EnvVar(name=name, value=value) for name, value in self.env.items()]
        mounts = [run_v2.VolumeMount(name=_CLOUDSQL, mount_path="/cloudsql")]
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
        return run_v2.VpcAccess(
            egress=run_v2.VpcAccess.VpcEgress.PRIVATE_RANGES_ONLY, network_interfaces=[interface]
        )

    def flags(self) -> dict[str, str]:
        """Return the flags of `gcloud run`. Values of variables may have commas: hence `^@^`."""
        return {
            "image": self.image,
            "service_account": self.account,
            "cpu": self.cpu,
            "memory": self.memory,
            "args": ",".join(self.args),
            "set_env_vars": "^@^" + "@".join(f"{k}={v}" for k, v in self.env.items())
            if self.env
            else "",
            "set_secrets": ",".join(f"{k}={v}:latest" for k, v in self.secrets.items()),
            "set_cloudsql_instances": self.database,
            "network": self.network,
            "vpc_egress": "private-ranges-only" if self.network else "",
        }


def read_container(template: Any) -> dict[str, Any]:
    """Return the settings of the container of a revision or task template."""
    container = template.containers[0]
    plain = {each.name: each.value for each in container.env if not _secret_of(each)}
    mounted = [one for volume in template.volumes for one in volume.cloud_sql_instance.instances]
    return {
        "image": container.image,
        "account": template.service_account,
        "cpu": _cpu(container.resources.limits.get("cpu", "")),
        "memory": container.resources.limits.get("memory", ""),
        "args": list(container.args),
        "env": plain,
        "secrets": {e.name: name for e in container.env if (name := _secret_of(e))},
        "database": ",".join(mounted),
        "network": ",".join(
            each.network.rpartition("/")[2] for each in template.vpc_access.network_interfaces
        ),
    }


def digest(settings: Settings) -> str:
    """Return six characters that differ when settings do, for names."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _from_secret(variable: str, secret: str) -> run_v2.EnvVar:
    selector = run_v2.SecretKeySelector(secret=secret, version="latest")
    return run_v2.EnvVar(name=variable, value_source=run_v2.EnvVarSource(secret_key_ref=selector))


def _secret_of(variable: Any) -> str:
    return str(variable.value_source.secret_key_ref.secret).rpartition("/")[2]


def _cpu(text: str) -> str:
    """Return whole processors as Cloud Run's own pages write them: `1`, not `1000m`."""
    return text.removesuffix("000m") if text.endswith("000m") else text
