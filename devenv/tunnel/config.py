"""The `[tunnel]` table: the project of Google's, the tunnel that leads here, and who may call.

Every value is restricted and refused by name, as most of them end in URLs and on command lines.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from devenv.gcp.tables import TABLE, ConfigError, Like, Port, ProjectId, Region, read_table

PATH = r"/[!-~]*"  # behind an origin it cannot lead to another host
PROVIDERS = ("cloudflared", "ngrok", "ssh")
_RENAMED = {"validator_accounts": "job_accounts", "capability_account": "storage_account"}


def _text(pattern: str, example: str) -> Like:
    return Like(re.compile(pattern), example)


Email = Annotated[
    str,
    _text(
        r"[a-z0-9][a-z0-9._-]{0,62}@[a-z0-9.-]{3,190}", "tasks@my-project.iam.gserviceaccount.com"
    ),
]
Name = Annotated[str, _text(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}", "runs")]
File = Annotated[str, _text(r"[^-\0\n][^\0\n]{0,999}", "~/.ssh/id_ed25519")]
JobName = Annotated[str, _text(r"[a-z][a-z0-9-]{0,62}", "my-job")]
Most = Field(min_length=1, max_length=50)
# A text that begins with a dash would be an option of the program.
Destination = Annotated[
    str,
    _text(
        r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,31}@)?[A-Za-z0-9][A-Za-z0-9.:-]{0,252}",
        "me@dev.example.com",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """`ssh -R` to `destination`, whose web server forwards `url` to `remote_port` of its loopback.

    `config_file` has the format of ssh_config(5), for other options that a host needs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    destination: Destination = ""
    remote_port: Port = 0
    ssh_port: Port = 22
    identity_file: File = ""
    config_file: File = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflaredOptions:
    """With `name`, a tunnel that `cloudflared tunnel create` made; without, a quick one.

    Without `name` but with a `url`, the tunnel of the variable TUNNEL_TOKEN.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    name: Name = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPath:
    """A path of the tunnel's target that Google's cloud may call, and the accounts that may do so.

    With `keep`, bodies are saved for `devenv replay`; it names the member of their JSON by whose
    value they are found.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    path: Annotated[str, _text(PATH, "/tasks")]
    callers: Literal["tasks_account", "scheduler_account", "job_accounts"]
    keep: Annotated[str, _text(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "order_id")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelConfig:
    """`url` is the public origin where it is known before; `port` that of the gate, 0 for any.

    Accounts are email addresses; `jobs` are Cloud Run jobs, which run as `job_accounts`. Services
    give jobs tokens of `storage_account`, narrowed to a folder.
    """

    __pydantic_config__: ClassVar[ConfigDict] = TABLE

    provider: Annotated[str, _text("|".join(PROVIDERS), " or ".join(PROVIDERS))]
    project: ProjectId
    region: Region
    queue: Name
    bucket: Annotated[str, _text(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", "my-bucket")]
    tasks_account: Email
    scheduler_account: Email
    storage_account: Email
    job_accounts: Annotated[tuple[Email, ...], Most]
    jobs: Annotated[tuple[JobName, ...], Most] = ()
    url: Annotated[
        str,
        _text(
            r"https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?",
            "https://dev.example.com (no path)",
        ),
    ] = ""
    port: Port = 0
    ssh: SshOptions = field(default_factory=SshOptions)
    cloudflared: CloudflaredOptions = field(default_factory=CloudflaredOptions)

    @property
    def callers(self) -> tuple[str, ...]:
        """Everybody whose ID token is accepted by the gate."""
        return (self.tasks_account, self.scheduler_account, *self.job_accounts)


def parse(data: Mapping[str, Any], *, jobs: Collection[str]) -> TunnelConfig:
    """Return the table as a TunnelConfig. Raises ConfigError. `jobs` are those of the project."""
    for old in data.keys() & _RENAMED:
        raise ConfigError(f"tunnel.{old} is called {_RENAMED[old]} now.", key=("tunnel", old))
    config = read_table(TunnelConfig, {"jobs": list(jobs)} | dict(data), "tunnel")
    if config.provider == "ssh":
        for name in ("destination", "remote_port"):
            if not getattr(config.ssh, name):
                raise ConfigError(
                    f"tunnel.ssh.{name} is missing; provider ssh needs it.", key=("tunnel", "ssh")
                )
        if not config.url:
            raise ConfigError(
                f"tunnel.url is missing; with provider ssh, the web server of "
                f"{config.ssh.destination} decides it. It looks like https://dev.example.com.",
                key=("tunnel",),
            )
    if config.cloudflared.name and not config.url:
        raise ConfigError(
            "tunnel.url is missing; a cloudflared tunnel with a name is reached at the host name "
            "that `cloudflared tunnel route dns` gave it.",
            key=("tunnel",),
        )
    return config
