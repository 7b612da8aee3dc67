"""`validator.toml`: what the catalogue, the platform and the tests know of a validator."""

import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class ManifestInvalid(Exception):
    """A manifest or something that it names does not hold; the message says where."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    name: str
    title: str
    path: Path
    expect: str
    inputs: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Port:
    port_key: str
    role: str
    required: bool
    default: str | None = None
    """For resources: where the standard file is, `package:<import name>/<path inside>`."""


@dataclass(frozen=True, kw_only=True)
class Output:
    slug: str
    label: str
    unit: str
    path: str
    """Where the output envelope has the value, by keys with dots between them."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    slug: str
    validation_type: str
    version: str
    image: str
    command: list[str]
    accepts: dict[str, str]
    """File extension to MIME type."""
    input_ports: list[Port]
    resource_ports: list[Port]
    outputs: list[Output]
    timeout_seconds: int
    memory_mb: int
    samples: list[Sample]


def read_manifest(folder: Path) -> Manifest:
    path = folder / "validator.toml"
    try:
        data = tomllib.loads(path.read_text())
        return Manifest(
            slug=data["slug"],
            validation_type=data["validation_type"],
            version=data["version"],
            image=data["image"],
            command=data["command"],
            accepts={entry["extension"]: entry["mime_type"] for entry in data["accepts"]},
            input_ports=[_port(entry, role="role") for entry in data["input_ports"]],
            resource_ports=[_port(entry, role="type") for entry in data.get("resource_ports", [])],
            outputs=[Output(**entry) for entry in data.get("outputs", [])],
            timeout_seconds=data["budgets"]["timeout_seconds"],
            memory_mb=data["budgets"]["memory_mb"],
            samples=[_sample(entry, folder=folder) for entry in data.get("samples", [])],
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ManifestInvalid(f"{path}: {type(error).__name__}: {error}") from error


def resolve_resource(reference: str) -> Path:
    """The file behind `package:<import name>/<path inside>`, found without importing it."""
    scheme, _, rest = reference.partition(":")
    package, _, inner = rest.partition("/")
    if scheme != "package" or not inner:
        raise ManifestInvalid(f"{reference!r} is not package:<import name>/<path>")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ManifestInvalid(f"{reference!r}: the package {package!r} is not installed")
    return Path(spec.origin).parent / inner


def _port(entry: dict[str, Any], *, role: str) -> Port:
    return Port(
        port_key=entry["port_key"],
        role=entry[role],
        required=entry["required"],
        default=entry.get("default"),
    )


def _sample(entry: dict[str, Any], *, folder: Path) -> Sample:
    return Sample(
        name=entry["name"],
        title=entry["title"],
        path=folder / entry["file"],
        expect=entry["expect"],
        inputs=entry.get("inputs", {}),
    )
