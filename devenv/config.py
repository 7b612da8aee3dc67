"""devenv.toml: the services of a stack, its profiles, and the cloud that it emulates or uses."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError
from itertools import product
from pathlib import Path
from typing import Any

from devenv.gcp import config as gcp
from devenv.gcp.references import References, named_in
from devenv.gcp.tables import ConfigError, Key, dotted, read_table
from devenv.local_stack import LocalStack, StackFolder
from devenv.schema import (
    BUILT_IN,
    NAME,
    AboutStack,
    AnyService,
    CommandService,
    MachineCheck,
    Profile,
    RunTable,
    StackConfig,
    Summary,
    check_service,
)
from devenv.secrets import BUILT_IN_SECRETS, Secrets, is_random
from devenv.stack.problems import StackError
from devenv.stack.service import levels
from devenv.tomlfile import TomlFile, merge
from devenv.tunnel import config as tunnels
from devenv.tunnel.config import TunnelConfig

FILE = "devenv.toml"
# Settings of one developer, which are not committed.
LOCAL_FILE = "devenv.local.toml"
_OVERLAID = ("services", "env", "gcp")
_TABLES = (
    *("stack", "services", "env", "secrets", "profiles"),
    *("facts", "summary", "run", "checks", "gcp", "tunnel"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(StackFolder):
    """The whole file. `stacks` has the tables of each combination of profiles by its layers."""

    about: AboutStack = field(default_factory=AboutStack)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    stacks: Mapping[tuple[str, ...], StackConfig] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    run: RunTable = field(default_factory=RunTable)
    checks: Mapping[str, MachineCheck] = field(default_factory=dict)
    tunnel: TunnelConfig | None = None

    @property
    def file(self) -> Path:
        return self.root / FILE

    @property
    def modes(self) -> tuple[str, ...]:
        """The profiles that are chosen by name."""
        return tuple(name for name, profile in self.profiles.items() if not profile.on)

    def layers(self, mode: str, *, jobs: str = "process", runtime: str = "") -> tuple[str, ...]:
        """Return the profiles of a stack. Raises ConfigError if there is no such mode."""
        if mode and mode not in self.modes:
            known = ", ".join(self.modes) or "none"
            raise ConfigError(f"{FILE} has no profile {mode!r:.60}; it has {known}.")
        return _layers(self.profiles, mode, jobs, runtime)

    def need_tunnel(self) -> TunnelConfig:
        """Return the tunnel's configuration. Raises ConfigError where there is none."""
        if self.tunnel is None:
            raise ConfigError(
                f"There is no table [tunnel], neither in {FILE} nor in {LOCAL_FILE}; "
                "docs/modes/tunnel.md has one to copy."
            )
        return self.tunnel

    def stack(
        self,
        layers: tuple[str, ...],
        *,
        secrets: Secrets,
        jobs: str = "process",
        ports: Mapping[str, int] | None = None,
    ) -> LocalStack:
        """Return the stack of some profiles, on the ports of the file or on others."""
        config = self.stacks[layers]
        return LocalStack(
            folder=self,
            config=config,
            secrets=secrets,
            name=self.about.name,
            jobs=jobs,
            ports=config.wanted_ports() | dict(ports or {}),
            tunnel=self.tunnel,
        )

    def check_references(self) -> References:
        """Return what commands of `[checks]` may refer to: they run without a stack."""
        known = {"python": sys.executable, "root": str(self.root), "state": str(self.state)}
        return References(known)

    def load_secrets(self) -> Secrets:
        """Return the secrets of this folder; make those that it lacks."""
        if not self.state.exists():
            self.make_state()
        return Secrets.load(self.secrets_file, self.secrets)


def load(root: Path) -> Config:
    """Read devenv.toml in `root`, and `[tunnel]` of devenv.local.toml too. Raises ConfigError.

    The message begins with file and line.
    """
    file, local = TomlFile.read(root / FILE, _TABLES), None
    if (root / LOCAL_FILE).exists():
        local = TomlFile.read(root / LOCAL_FILE, ("tunnel",))
    own = local.tables.get("tunnel", {}) if local else {}
    with file.errors():
        about = read_table(AboutStack, file.tables.get("stack", {}), "stack")
        profiles = _profiles(file.tables.get("profiles", {}), default=about.profile)
        secrets = _secret_forms(file.tables.get("secrets", {}))
        summary = read_table(Summary, file.tables.get("summary", {}), "summary")
        run = read_table(RunTable, file.tables.get("run", {}), "run")
        checks = {
            name: read_table(MachineCheck, _table(one, "checks", name), "checks", name)
            for name, one in file.tables.get("checks", {}).items()
        }
    stacks = {
        layers: _stack_config(file, about, profiles, layers)
        for layers in _combined(profiles, about.profile)
    }
    tunnel = {**file.tables.get("tunnel", {}), **own}
    jobs = [job.name for job in next(iter(stacks.values())).cloud.jobs]
    with (local or file).errors():
        parsed = tunnels.parse(tunnel, jobs=jobs) if tunnel else None
    config = Config(
        root=root,
        about=about,
        profiles=profiles,
        stacks=stacks,
        secrets=secrets,
        facts=file.tables.get("facts", {}),
        summary=summary,
        run=run,
        checks=checks,
        tunnel=parsed,
    )
    for layers in stacks:
        with file.errors(*(("profiles", name) for name in layers)):
            _check(config, layers)
    return config


def _profiles(tables: Mapping[str, Any], *, default: str) -> dict[str, Profile]:
    profiles = {
        name: read_table(Profile, _table(one, "profiles", name), "profiles", name)
        for name, one in tables.items()
    }
    chosen = [name for name, profile in profiles.items() if not profile.on]
    for name, profile in profiles.items():
        if wrong := [one for one in profile.on if one not in chosen]:
            key = ("profiles", name, "on")
            raise ConfigError(
                f"{dotted(key)} has {wrong[0]!r}; known are {', '.join(chosen)}.", key=key
            )
        if bool(profile.on) != bool(profile.jobs or profile.runtime):
            raise ConfigError(
                f"profiles.{name} needs both `on` and one of `jobs` and `runtime`, or none of them.",
                key=("profiles", name),
            )
    if default and default not in chosen:
        raise ConfigError(
            f"stack.profile is {default!r}; it must be one of {', '.join(chosen) or 'none'}.",
            key=("stack", "profile"),
        )
    return profiles


def _secret_forms(table: Mapping[str, Any]) -> dict[str, str]:
    for name, form in table.items():
        key = ("secrets", name)
        if not isinstance(form, str) or not is_random(form):
            raise ConfigError(
                f"{dotted(key)} is {form!r:.60}; it must be the form of a random text, such as "
                '"{token:30}" or "key-{hex:16}", with 6 random bytes or more.',
                key=key,
            )
    return dict(table)


def _combined(profiles: Mapping[str, Profile], default: str) -> Iterator[tuple[str, ...]]:
    """Yield every combination of profiles that a command can choose, that of the file first.

    Without a default profile, the file alone is a stack, too.
    """
    modes = [name for name, profile in profiles.items() if not profile.on]
    modes = modes if default else ["", *modes]
    for mode in modes:
        chosen = product([mode], ("process", "docker"), ("", "docker"))
        yield from dict.fromkeys(_layers(profiles, *one) for one in chosen)


def _layers(profiles: Mapping[str, Profile], mode: str, jobs: str, runtime: str) -> tuple[str, ...]:
    """Return a mode and the profiles on it, in the order in which they overlay the file."""
    upper = (
        name
        for name, profile in profiles.items()
        if mode in profile.on and (profile.jobs or jobs) == jobs and profile.runtime == runtime
    )
    return (*((mode,) if mode else ()), *upper)


def _stack_config(
    file: TomlFile, about: AboutStack, profiles: Mapping[str, Profile], layers: tuple[str, ...]
) -> StackConfig:
    tables = {name: file.tables.get(name, {}) for name in _OVERLAID}
    for name in layers:
        overlay = {part: getattr(profiles[name], part) for part in _OVERLAID}
        with file.errors(("profiles", name)):
            tables = merge(tables, overlay)
    with file.errors(*(("profiles", name) for name in layers)):
        return StackConfig(
            layers=layers,
            title=next((profiles[name].title for name in layers if profiles[name].title), ""),
            credentials=profiles[layers[0]].credentials if layers else "emulated",
            callback_network=any(profiles[name].callback_network for name in layers),
            hide=about.hide,
            services={
                name: _service(name, _table(table, "services", name))
                for name, table in tables["services"].items()
            },
            env={name: _env(name, table) for name, table in tables["env"].items()},
            cloud=gcp.parse(tables["gcp"]),
        )


def _service(name: str, table: Mapping[str, Any]) -> AnyService:
    key = ("services", name)
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{dotted(key)} is no name of a service: lower-case letters, digits and hyphens, "
            "at most 31.",
            key=key,
        )
    service: AnyService = read_table(BUILT_IN.get(name, CommandService), table, *key)
    if isinstance(service, CommandService):
        check_service(service, key)
        _check_variables(service.env, (*key, "env"))
    return service


def _check_variables(env: Mapping[str, str], key: Key) -> None:
    """Raise ConfigError for variables that no process can have."""
    for variable, value in env.items():
        if not variable or "=" in variable or "\0" in variable + value:
            text = f"{dotted((*key, variable))} is no variable: its name must not be empty or have `=`, and neither name nor value a NUL."
            raise ConfigError(text, key=(*key, variable))


def _env(name: str, table: Any) -> dict[str, str]:
    for variable, value in _table(table, "env", name).items():
        key = ("env", name, variable)
        if not isinstance(value, str):
            raise ConfigError(f"{dotted(key)} is {value!r:.60}; it must be a text.", key=key)
    _check_variables(table, ("env", name))
    return dict(table)


def _table(value: Any, *key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{dotted(key)} is {value!r:.60}; it must be a table.", key=key)
    return value


def _check(config: Config, layers: tuple[str, ...]) -> None:
    """Raise ConfigError if a name that a table refers to does not exist in these profiles."""
    names = {*BUILT_IN_SECRETS, *config.secrets}
    stack = config.stack(layers, secrets=Secrets(dict.fromkeys(names, "")))
    declared = {name for one in config.stacks.values() for name in one.services}
    for name, service in stack.config.commands().items():
        key = ("services", name)
        _check_names(service.needs, declared, (*key, "needs"))
        if service.folder and not (config.root / service.folder).is_dir():
            text = f"{dotted(key)}.folder is {service.folder!r:.60}; there is no such folder here."
            raise ConfigError(text, key=(*key, "folder"))
        _check_names(service.env_from, stack.config.env, (*key, "env_from"))
        if stack.has_cloud and service.account:
            _check_names((service.account,), stack.config.cloud.accounts, (*key, "account"))
        _check_texts(stack.references(name), service, key)
        for group in service.env_from:
            for variable, text in stack.config.env[group].items():
                stack.references(name).require(text, ("env", group, variable))
    _check_target(stack.config)
    if stack.has_cloud:
        gcp.require_references(stack.config.cloud, stack.references())
    _check_cycles(stack.config)
    _check_others(config, stack)


def _check_texts(references: References, service: CommandService, key: Key) -> None:
    for number, text in enumerate(service.command):
        references.require(text, (*key, "command", number))
    references.require(service.host, (*key, "host"))
    for variable, text in service.env.items():
        references.require(text, (*key, "env", variable))
    for number, text in enumerate(service.ready.command if service.ready else ()):
        references.require(text, (*key, "ready", "command", number))


def _check_names(names: tuple[str, ...], known: Any, key: Key) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{dotted(key)} has {name!r}, which does not exist; known are "
                f"{', '.join(known) or 'none'}.",
                key=key,
            )


def _check_target(config: StackConfig) -> None:
    targets = [name for name, one in config.commands().items() if one.port]
    if config.tunnel and config.tunnel.target not in targets:
        text = f"{config.tunnel.target!r}; it must be a service with a `port`: {', '.join(targets)}"
        key = ("services", "tunnel", "target")
        raise ConfigError(f"{dotted(key)} is {text}.", key=key)


def _check_cycles(config: StackConfig) -> None:
    try:
        levels({name: one.needs for name, one in config.commands().items()})
    except StackError as error:
        cycle = error.__cause__.args[1] if isinstance(error.__cause__, CycleError) else [""]
        raise ConfigError(error.message, key=("services", cycle[0], "needs")) from error


def _check_others(config: Config, stack: LocalStack) -> None:
    """Check the texts of what `up` and `run` print and add."""
    commands = stack.config.commands()
    if config.run.service:
        _check_names((config.run.service,), commands, ("run", "service"))
    for name, check in config.checks.items():
        for number, text in enumerate(check.command):
            config.check_references().require(text, ("checks", name, "command", number))
    references = stack.references()
    texts: dict[Key, str] = {
        **{("summary", "rows", n, 1): row[1] for n, row in enumerate(config.summary.rows)},
        **{("summary", "paste", n): line for n, line in enumerate(config.summary.paste)},
        **{("run", "env", name): text for name, text in config.run.env.items()},
        **{("services", "oidc", "redirect_uris", n): uri for n, uri in enumerate(stack.oidc_uris)},
        ("stack", "facts_file"): config.about.facts_file,
        **dict(_texts_of(config.facts, ("facts",))),
    }
    for key, text in texts.items():
        for name in named_in(text):
            # Facts come from a file that a step writes: nobody knows them before.
            if not name.startswith("facts."):
                references.require(f"{{{name}}}", key)


def _texts_of(value: Any, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield the texts of nested tables and arrays with their keys."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _texts_of(one, (*key, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts_of(one, (*key, number))
