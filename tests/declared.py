"""The stack of this checkout's devenv.toml, for tests that start nothing."""

from dataclasses import replace
from pathlib import Path

from devenv import config as configs
from devenv.config import Config
from devenv.gcp.config import CloudConfig
from devenv.local_stack import LocalStack
from devenv.secrets import Secrets

ROOT = Path(__file__).resolve().parents[1]


def config_in(folder: Path) -> Config:
    """Return devenv.toml as the configuration of another folder, whose state is empty."""
    found = replace(configs.load(ROOT), root=folder)
    found.state.mkdir(parents=True, exist_ok=True)
    return found


def stack_in(folder: Path, mode: str = "emulated", *, jobs: str = "process") -> LocalStack:
    """Return the stack of a profile in another folder."""
    config = config_in(folder)
    layers = config.layers(mode, jobs=jobs)
    return config.stack(layers, secrets=config.load_secrets(), jobs=jobs)


def cloud() -> CloudConfig:
    """Return the emulated project, with the Cloud Run services of the stack."""
    config = configs.load(ROOT)
    secrets = Secrets({"postgres_password": "", **dict.fromkeys(config.secrets, "")})
    return config.stack(("emulated",), secrets=secrets).cloud_config()
