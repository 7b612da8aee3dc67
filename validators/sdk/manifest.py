"""Manifest of a validator, `validator.toml`.

One file says everything that others need to know of a validator: the catalogue of the product (its
title, ports and outputs), the platform (image, command, budgets), the tests and the command
`python -m validators.sdk` (samples). Unknown keys and wrong types are refused by name.

The product imports this module, so it depends on pydantic and the standard library only.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

MANIFEST_NAME = "validator.toml"
# The port of files that were sent beside the submission; it takes any number of them.
FURTHER_FILES_PORT = "further_files"


class ManifestInvalid(Exception):
    """A manifest, or a file that it names, is missing or wrong. The message says what and where."""


class ManifestPart(BaseModel):
    """Table of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


type Extension = Annotated[str, Field(pattern=r"^\.[a-z0-9]+$")]


class AcceptedFileType(ManifestPart):
    """File type that a validator accepts."""

    extension: Extension
    mime_type: str


class InputPort(ManifestPart):
    """Port that takes the submission."""

    port_key: str
    role: str
    title: str
    required: bool


class ResourcePort(ManifestPart):
    """Port that takes a file of the step.

    `extensions` are those that the file's name may have, all if there are none. `default` is where a
    standard file is: `package:<import name>/<path inside>`.
    """

    port_key: str
    type: str
    title: str
    required: bool
    extensions: list[Extension] = []
    default: str = ""


class ManifestOutput(ManifestPart):
    """Value that a validator reports.

    `path` is where the output envelope has it: keys with dots between them. Metrics are found by
    category and name, `metrics.energy.net_site_energy_kwh`; a category alone is an object of its
    values by name.
    """

    slug: str
    label: str
    unit: str
    path: str


class DefaultAssertion(ManifestPart):
    """Assertion that a new step with this validator has, until its author changes it."""

    expression: str
    when: str = ""
    severity: Literal["ERROR", "WARNING", "INFO"] = "ERROR"
    message: str = ""
    success_message: str = ""
    path: str = ""
    notes: str = ""


class Budgets(ManifestPart):
    """Most time and memory that one execution may take."""

    timeout_seconds: Annotated[int, Field(gt=0)]
    memory_mb: Annotated[int, Field(gt=0)]


def _beside_manifest(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or not info.context:
        return value
    return Path(info.context["folder"], value)


class SettingSchema(ManifestPart):
    """Setting of a step: a JSON Schema with the keywords for which the editor has a field.

    The keywords mean what they mean in JSON Schema, draft 2020-12. A text with `contentMediaType` is
    edited in several lines.
    """

    type: Literal["string", "integer", "number", "boolean", "array", "object"]
    title: str = ""
    description: str = ""
    default: Any = None
    enum: Annotated[list[str | int | float], Field(min_length=1, max_length=200)] | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusiveMinimum: float | None = None  # noqa: N815 - keyword of JSON Schema
    exclusiveMaximum: float | None = None  # noqa: N815
    minLength: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    maxLength: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    pattern: Annotated[str, Field(max_length=1000)] | None = None
    contentMediaType: str | None = None  # noqa: N815
    items: "SettingSchema | None" = None
    minItems: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    maxItems: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    uniqueItems: bool | None = None  # noqa: N815
    properties: "dict[SettingName, SettingSchema] | None" = None
    required: list[str] | None = None
    additionalProperties: "bool | SettingSchema | None" = None  # noqa: N815

    @model_validator(mode="after")
    def required_must_be_properties(self) -> "SettingSchema":
        _check_required(self.required or (), self.properties or {})
        return self


SettingName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class SettingsSchema(ManifestPart):
    """Settings of a step; the editor makes a form of them, and every step is checked against them."""

    properties: dict[SettingName, SettingSchema]
    required: list[str] = []

    @model_validator(mode="after")
    def required_must_be_properties(self) -> "SettingsSchema":
        _check_required(self.required, self.properties)
        return self

    def json_schema(self) -> dict[str, Any]:
        """Return the settings as a JSON Schema that allows no others."""
        written = self.model_dump(exclude_unset=True)
        return {"type": "object", **written, "additionalProperties": False}


def _check_required(required: Sequence[str], properties: Mapping[str, Any]) -> None:
    if missing := [name for name in required if name not in properties]:
        raise ValueError(f"`required` names {missing[0]!r}, which is not in `properties`")


class NetworkReach(StrEnum):
    """Reach of the container of a custom validator: nothing, the platform only, or everything.

    The platform is where its files are and where it calls back.
    """

    NONE = "none"
    PLATFORM = "platform"
    INTERNET = "internet"


# Variables of the platform, of Cloud Run and of what starts a program: a secret must not replace them.
_RESERVED_NAMES = frozenset(
    {
        *("DEPLOYMENT_TARGET", "SENTRY_DSN", "TASK_OIDC_AUDIENCE", "TRACEPARENT", "TRACESTATE"),
        *("VALIDATOR_VERSION", "WORKER_API_KEY", "PORT", "PATH", "HOME", "HOSTNAME", "LANG", "PWD"),
        *("SHELL", "TERM", "TMPDIR", "TZ", "USER", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    }
)
_RESERVED_BEGINNINGS = (
    *("VALIDIBOT_", "CLOUD_RUN_", "K_", "GOOGLE_", "GCE_METADATA_", "CLOUDSDK_", "GRPC_"),
    *("LD_", "LC_", "PYTHON", "SSL_CERT_", "MODAL_"),
)


def _not_reserved(name: str) -> str:
    beginning = next((each for each in _RESERVED_BEGINNINGS if name.startswith(each)), "")
    if beginning or name in _RESERVED_NAMES:
        taken = f"names that begin with {beginning}" if beginning else "this name"
        raise ValueError(
            f"{taken} may not be used for a secret, the platform needs it; choose another"
        )
    return name


type SecretName = Annotated[
    str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$"), AfterValidator(_not_reserved)
]


class ManifestSecret(ManifestPart):
    """Secret that a custom validator needs; its name is that of an environment variable."""

    title: Annotated[str, Field(max_length=150)] = ""
    description: Annotated[str, Field(max_length=1000)] = ""


class ManifestSample(ManifestPart):
    """Submission whose verdict is known. `file` is relative to the manifest."""

    name: str
    title: str
    path: Annotated[Path, BeforeValidator(_beside_manifest), Field(validation_alias="file")]
    expect: Literal["pass", "fail"]
    inputs: dict[str, Any] = {}


class ValidatorManifest(ManifestPart):
    """Everything that `validator.toml` says.

    A validator that `accepts_further_files` is given files that were sent beside the submission, with
    `further_file_extensions` only those of these types.
    `settings` are those of a validator of type CUSTOM_VALIDATOR; other types have published ones.
    `network` and `secrets` are for validators that an organisation registers: for those of the product
    the operator decides both.
    `credits` is what a step costs unless the deployment or the operator sets a price; a validator that an
    organisation registers has no say in its price.
    """

    slug: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
    title: Annotated[str, Field(min_length=1, max_length=150)]
    description: str
    validation_type: Annotated[str, Field(pattern=r"^[A-Z_]{1,40}$")]
    version: Annotated[str, Field(min_length=1, max_length=40)]
    image: Annotated[str, Field(min_length=1, max_length=300)]
    job: Annotated[str, Field(min_length=1, max_length=63)]
    command: Annotated[list[str], Field(min_length=1)]
    budgets: Budgets
    accepts: Annotated[list[AcceptedFileType], Field(min_length=1)]
    input_ports: Annotated[list[InputPort], Field(min_length=1)]
    resource_ports: list[ResourcePort] = []
    accepts_further_files: bool = False
    further_file_extensions: list[Extension] = []
    credits: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    outputs: list[ManifestOutput] = []
    assertions: list[DefaultAssertion] = []
    settings: SettingsSchema | None = None
    network: Annotated[NetworkReach, Field(strict=False)] = NetworkReach.PLATFORM
    secrets: Annotated[dict[SecretName, ManifestSecret], Field(max_length=20)] = {}
    samples: list[ManifestSample] = []

    def mime_type_of(self, path: Path) -> str:
        """Return the MIME type of a file by its extension. Raises ManifestInvalid."""
        for accepted in self.accepts:
            if accepted.extension == path.suffix.lower():
                return accepted.mime_type
        known = ", ".join(accepted.extension for accepted in self.accepts)
        raise ManifestInvalid(f"{path.name}: {self.slug} accepts only {known}.")


def read_manifest(folder: Path) -> ValidatorManifest:
    """Read the manifest of a validator's folder. Raises ManifestInvalid."""
    path = folder / MANIFEST_NAME
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return ValidatorManifest.model_validate(data, context={"folder": folder})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestInvalid(f"{path} cannot be read: {error}.") from None
    except ValidationError as error:
        raise ManifestInvalid(f"{path}: {'; '.join(_faults(error))}.") from None


def parse_manifest(text: str) -> ValidatorManifest:
    """Return the manifest in a text; its samples are not looked for. Raises ManifestInvalid."""
    try:
        # Its samples stay paths: they are not in the text.
        return ValidatorManifest.model_validate(tomllib.loads(text), context={"folder": "."})
    except tomllib.TOMLDecodeError as error:
        raise ManifestInvalid(f"{MANIFEST_NAME} is not TOML: {error}.") from None
    except RecursionError:
        raise ManifestInvalid(f"{MANIFEST_NAME} is nested too deep.") from None
    except ValidationError as error:
        raise ManifestInvalid(f"{MANIFEST_NAME}: {'; '.join(_faults(error))}.") from None


def resolve_resource(reference: str) -> Path:
    """Return the file of `package:<import name>/<path inside>`, without importing the package.

    Raises ManifestInvalid if the package or the file is not on this machine.
    """
    scheme, _, rest = reference.partition(":")
    package, _, inner = rest.partition("/")
    if scheme != "package" or not inner:
        raise ManifestInvalid(f"{reference!r} is not package:<import name>/<path>.")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ManifestInvalid(f"{reference!r}: the package {package!r} is not installed.")
    path = Path(spec.origin).parent / inner
    if not path.is_file():
        raise ManifestInvalid(f"{reference!r}: the package has no file {inner!r}.")
    return path


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_input=False):
        # pydantic marks what is wrong with a name by a last part of its own.
        where = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        yield f"`{where}`: {fault['msg'].removeprefix('Value error, ')}"
