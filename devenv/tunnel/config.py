"""The `[tunnel]` table: which project of Google's, which tunnel leads here, who may call.

Every value is bounded and refused by name: most of them end in URLs and on command lines.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from devenv.gcp.config import ConfigError

PROVIDERS = ("cloudflared", "ngrok", "ssh")
_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """`ssh -R` to `destination`, whose web server leads `url` to `remote_port` of its loopback.

    `config_file` is one in the form of ssh_config(5), for whatever else a host needs.
    """

    destination: str = ""
    remote_port: int = 0
    ssh_port: int = 22
    identity_file: str = ""
    config_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflaredOptions:
    """With `name`, a tunnel that `cloudflared tunnel create` made; without, a quick one.

    Without `name` but with a `url`, the one that the variable TUNNEL_TOKEN stands for.
    """

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelConfig:
    """`url` is the public origin where it is known before; `port` that of the gate, 0 any.

    Accounts are e-mail addresses; `jobs` are the Cloud Run jobs of the validators.
    """

    provider: str
    project: str
    region: str
    queue: str
    bucket: str
    tasks_account: str
    scheduler_account: str
    capability_account: str
    validator_accounts: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    url: str = ""
    port: int = 0
    ssh: SshOptions = field(default_factory=SshOptions)
    cloudflared: CloudflaredOptions = field(default_factory=CloudflaredOptions)

    @property
    def callers(self) -> tuple[str, ...]:
        """Everybody whose ID token opens a door."""
        return (self.tasks_account, self.scheduler_account, *self.validator_accounts)


class _Text(NamedTuple):
    pattern: re.Pattern[str]
    example: str


_EMAIL = _Text(
    re.compile(r"[a-z0-9][a-z0-9._-]{0,62}@[a-z0-9.-]{3,190}"),
    "tasks@my-project.iam.gserviceaccount.com",
)
_NAME = _Text(re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}"), "runs")
_FILE = _Text(re.compile(r"[^-\0\n][^\0\n]{0,999}"), "~/.ssh/id_ed25519")
_TEXTS: Mapping[str, _Text] = {
    "provider": _Text(re.compile("|".join(PROVIDERS)), " or ".join(PROVIDERS)),
    "project": _Text(re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"), "my-project"),
    "region": _Text(re.compile(r"[a-z]{2,20}-[a-z]{2,20}[0-9]{1,2}"), "us-west1"),
    "queue": _NAME,
    "bucket": _Text(re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"), "my-bucket"),
    "tasks_account": _EMAIL,
    "scheduler_account": _EMAIL,
    "capability_account": _EMAIL,
    "validator_accounts": _EMAIL,
    "jobs": _Text(re.compile(r"[a-z][a-z0-9-]{0,62}"), "validibot-validator-fmu"),
    "url": _Text(
        re.compile(r"https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?"),
        "https://dev.example.com (no path)",
    ),
    # What begins with a dash would be an option of the program.
    "destination": _Text(
        re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,31}@)?[A-Za-z0-9][A-Za-z0-9.:-]{0,252}"),
        "me@dev.example.com",
    ),
    "identity_file": _FILE,
    "config_file": _FILE,
    "name": _NAME,
}
_TABLES: Mapping[str, type[Any]] = {"ssh": SshOptions, "cloudflared": CloudflaredOptions}
_OPTIONAL = ("jobs", "url", "port", *_TABLES)


def parse(data: Mapping[str, Any], *, jobs: Collection[str]) -> TunnelConfig:
    """Turn the table into a TunnelConfig. Raises ConfigError. `jobs` are those it need not name."""
    required = [one.name for one in fields(TunnelConfig) if one.name not in _OPTIONAL]
    if missing := [name for name in required if name not in data]:
        known = _TEXTS[missing[0]].example
        raise ConfigError(f"tunnel.{missing[0]} is missing; it looks like {known}.")
    config = TunnelConfig(**{"jobs": tuple(jobs)} | _values("tunnel", TunnelConfig, data))
    _check_together(config)
    return config


def _values(where: str, kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    known = {one.name: one for one in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in known:
            raise ConfigError(
                f"{where} has the unknown key {name!r:.60}; known are {', '.join(sorted(known))}."
            )
        values[name] = _value(f"{where}.{name}", name, value)
    return values


def _value(where: str, name: str, value: Any) -> Any:
    if name in _TABLES:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r:.60}; it must be a table, [{where}].")
        return _TABLES[name](**_values(where, _TABLES[name], value))
    if name.endswith("port"):
        return _port(where, value)
    if name in ("jobs", "validator_accounts"):
        return _list(where, name, value)
    return _text(where, name, value)


def _port(where: str, value: Any) -> int:
    if type(value) is not int or not 0 < value < 65536:
        raise ConfigError(f"{where} is {value!r:.60}; it must be a number from 1 to 65535.")
    return value


def _list(where: str, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST:
        raise ConfigError(f"{where} is {value!r:.60}; it must be a list of 1 to {_MOST} texts.")
    return tuple(_text(f"{where}[{index}]", name, one) for index, one in enumerate(value))


def _text(where: str, name: str, value: Any) -> str:
    text = _TEXTS[name]
    if not isinstance(value, str) or not text.pattern.fullmatch(value):
        raise ConfigError(f"{where} is {value!r:.200}; it must look like {text.example}.")
    return value


def _check_together(config: TunnelConfig) -> None:
    """Refuse what no tunnel can be made from."""
    if config.provider == "ssh":
        for name in ("destination", "remote_port"):
            if not getattr(config.ssh, name):
                raise ConfigError(f"tunnel.ssh.{name} is missing; provider ssh needs it.")
        if not config.url:
            raise ConfigError(
                "tunnel.url is missing; with provider ssh, the web server of "
                f"{config.ssh.destination} decides it. It looks like {_TEXTS['url'].example}."
            )
    if config.cloudflared.name and not config.url:
        raise ConfigError(
            "tunnel.url is missing; a cloudflared tunnel with a name is reached at the host name "
            "that `cloudflared tunnel route dns` gave it."
        )
