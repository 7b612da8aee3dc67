"""The catalogue: validators that steps use, and weather for those that simulate buildings."""

import json
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from validators.sdk.manifest import NetworkReach
from validibot.accounts.models import Organisation
from validibot.core.echo import echo
from validibot.core.sealing import seal, unseal
from validibot.workflows import checks

# The type of a resource port that takes weather (validator.toml).
WEATHER_TYPE = "energyplus_weather"


class ValidatedModel(models.Model):
    """A row that is validated on every save; relations are left to the database."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        relations = {field.name for field in self._meta.concrete_fields if field.is_relation}
        self.full_clean(exclude=relations, validate_unique=False, validate_constraints=False)
        super().save(*args, **kwargs)


# Networks of validators, as pages name them.
NETWORKS = {
    "": _("what this site gives all validators"),
    NetworkReach.NONE.value: _("nothing"),
    NetworkReach.PLATFORM.value: _("this platform only"),
    NetworkReach.INTERNET.value: _("the internet"),
}


class JobState(models.TextChoices):
    """The state of the job with which the provider runs a custom validator."""

    INCOMPLETE = "incomplete", _("Secrets missing")
    PENDING = "pending", _("Being prepared")
    READY = "ready", _("Ready")
    REFUSED = "refused", _("Refused")


class ValidatorQuerySet(models.QuerySet["Validator"]):
    """Catalogue entries."""

    def known_to(self, organisation: Organisation) -> Self:
        """Return those of the product and of one organisation, in all versions."""
        return self.filter(Q(organisation=None) | Q(organisation=organisation))

    def for_new_steps(self, organisation: Organisation, role: str) -> Self:
        """Return those that a member of this role may give to new steps of the organisation."""
        anybody = Q(roles=[]) | Q(roles__contains=[role])
        return self.known_to(organisation).filter(anybody, is_active=True, job_state=JobState.READY)


class Validator(ValidatedModel):
    """A catalogue entry: one of the product, synced from a manifest, or one of an organisation.

    `engine` names an in-process engine; a container validator has `image` and `job` instead.
    A custom validator belongs to its `organisation`; `roles` may give it to steps (none: all authors),
    and `job_state` says whether the provider has its job. All else of it never changes. `network` is
    what it may reach ("": what the site gives all validators), and `secrets` are those that it needs,
    [{name, title, description}]; their values are `ValidatorSecret`s.
    `settings_json` is the JSON Schema of its settings, "" if its type has a model.
    JSON fields hold the manifest's tables in its shape: `accepts` [{extension, mime_type}],
    `ports` [{port_key, role|type, name, channel, required, extensions, default}], `outputs`
    [{slug, label, unit, path}], `command` [str], `default_assertions` [{expression, when, severity,
    message, success_message, path, notes}], which a new step has.
    """

    organisation = models.ForeignKey(
        Organisation,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="custom_validators",
    )
    slug = models.SlugField(max_length=60)
    version = models.CharField(max_length=40)
    title = models.CharField(max_length=150)
    description = models.TextField(blank=True)
    validation_type = models.CharField(max_length=40)
    engine = models.CharField(max_length=60, blank=True)
    image = models.CharField(max_length=300, blank=True)
    job = models.CharField(max_length=63, blank=True)
    command = models.JSONField(default=list, blank=True)
    accepts = models.JSONField(default=list, blank=True, validators=[checks.check_file_types])
    ports = models.JSONField(default=list, blank=True)
    outputs = models.JSONField(default=list, blank=True)
    default_assertions = models.JSONField(
        default=list, blank=True, db_default=[], validators=[checks.check_default_assertions]
    )
    # A text, because PostgreSQL would lose the order of the settings.
    settings_json = models.TextField(blank=True, default="", db_default="")
    roles = models.JSONField(default=list, blank=True, db_default=[])
    network = models.CharField(
        max_length=10, blank=True, choices=NETWORKS, default="", db_default=""
    )
    secrets = models.JSONField(default=list, blank=True, db_default=[])
    job_state = models.CharField(
        max_length=10, choices=JobState, default=JobState.READY, db_default=JobState.READY
    )
    job_error = models.TextField(blank=True, default="", db_default="")
    accepts_further_files = models.BooleanField(default=False)
    timeout_seconds = models.PositiveIntegerField(default=600)
    memory_mb = models.PositiveIntegerField(default=512)
    price = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(1_000_000)],
        help_text=_(
            "Credits for each step. Empty: the price of the deployment, or of the manifest."
        ),
    )
    manifest_price = models.PositiveIntegerField(null=True, blank=True, editable=False)
    is_active = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ValidatorQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["slug", "version"],
                condition=Q(organisation=None),
                name="validator_version_is_unique",
            ),
            models.UniqueConstraint(
                fields=["organisation", "slug", "version"], name="custom_validator_is_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} {self.version}"

    @property
    def credits(self) -> int:
        """The price of a step in credits: the operator's, the deployment's, or that of the manifest."""
        of_deployment: int = (
            settings.CREDITS_PER_STEP if self.in_process else settings.CREDITS_PER_CONTAINER_STEP
        )
        usual = 1 if self.in_process else 10
        prices = (self.price, of_deployment, self.manifest_price, usual)
        return next(price for price in prices if price is not None and price >= 0)

    @property
    def settings_schema(self) -> dict[str, Any]:
        """The JSON Schema of the settings, or {}."""
        return json.loads(self.settings_json) if self.settings_json else {}

    @property
    def is_custom(self) -> bool:
        return self.organisation_id is not None

    @property
    def network_reach(self) -> NetworkReach | None:
        """The network of a custom validator; None for that which the site gives all validators."""
        return NetworkReach(self.network) if self.network else None

    @property
    def secret_names(self) -> list[str]:
        """The names of the secrets that it needs."""
        return [secret["name"] for secret in self.secrets]

    @property
    def in_process(self) -> bool:
        return bool(self.engine)

    @property
    def resource_ports(self) -> list[str]:
        """The keys of the ports that take a file of the step."""
        return [port["port_key"] for port in self.ports if port["channel"] == "resource_files"]

    @property
    def required_ports(self) -> list[dict[str, Any]]:
        """The ports without whose file a step cannot run."""
        ports = (port for port in self.ports if port["channel"] == "resource_files")
        return [port for port in ports if port.get("required")]

    @property
    def further_file_extensions(self) -> list[str]:
        """The extensions that further files of a submission may have; all if there are none."""
        ports = (port for port in self.ports if port["channel"] == "further_files")
        return [extension for port in ports for extension in port["extensions"]]

    @property
    def takes_weather(self) -> bool:
        return any(port.get("type") == WEATHER_TYPE for port in self.ports)


class ValidatorSecret(models.Model):
    """A secret of one version of a custom validator, for its image and no other.

    `sealed_value` is the value, encrypted (see `core.sealing`), or `reference` names a version of a
    secret in Secret Manager. `number` counts the changes, so that a run can say what it used.
    """

    validator = models.ForeignKey(
        Validator, on_delete=models.CASCADE, related_name="secret_values", db_index=False
    )
    name = models.CharField(max_length=64)
    sealed_value = models.TextField(blank=True, editable=False)
    reference = models.CharField(max_length=400, blank=True)
    number = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["validator", "name"], name="validator_secret_is_unique")
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.label}"

    @property
    def value(self) -> str:
        """The value, or "". Raises SealBroken."""
        return unseal(self.sealed_value) if self.sealed_value else ""

    @value.setter
    def value(self, value: str) -> None:
        self.sealed_value = seal(value) if value else ""

    @property
    def label(self) -> str:
        """The part that may be shown: its reference, or the number of its value."""
        return self.reference or f"value {self.number}"


class ValidatorSample(models.Model):
    """A small file to try one version of a custom validator with, and the settings of its step.

    The manifest names it and says whether its run `passes`; `content` is None until the file is given.
    A version whose manifest names none may have one with any file, no settings and an unknown result
    (`passes` None). `last_trial` is the hidden workflow of its last run, while that is kept.
    """

    validator = models.ForeignKey(
        Validator, on_delete=models.CASCADE, related_name="samples", db_index=False
    )
    name = models.CharField(max_length=150)
    title = models.CharField(max_length=150)
    filename = models.CharField(max_length=200)
    content = models.BinaryField(null=True)
    passes = models.BooleanField(null=True)
    settings = models.JSONField(default=dict, blank=True)
    last_trial = models.ForeignKey(
        "workflows.Workflow", null=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["validator", "name"], name="validator_sample_is_unique")
        ]

    def __str__(self) -> str:
        return self.title


class WeatherUnknown(Exception):
    """The catalogue has no weather of this name; the message lists the nearest names."""


class WeatherFile(models.Model):
    """A catalogue entry of weather, for validators that have a port of type `WEATHER_TYPE`.

    `name` is the stem of its EPW file, `location` the place that the file names. `files` lists the EPW
    and, if there are any, the DDY and STAT as [{port_key, type, name, uri, storage_version, size_bytes,
    sha256}]; they are stored once by digest (see `validibot.workflows.weather`).
    """

    name = models.CharField(max_length=150, unique=True)
    location = models.CharField(max_length=200, blank=True)
    files = models.JSONField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the entry of a name, with or without `.epw`. Raises WeatherUnknown."""
        wanted = name.strip().casefold().removesuffix(".epw")
        names = {each.casefold(): each for each in cls.objects.values_list("name", flat=True)}
        if wanted in names:
            return cls.objects.get(name=names[wanted])
        inside = [each for each in names if wanted and wanted in each]
        near = [*inside, *get_close_matches(wanted, names, n=5, cutoff=0.3), *sorted(names)]
        listed = ", ".join(names[each] for each in list(dict.fromkeys(near))[:5]) or "none"
        raise WeatherUnknown(
            f"There is no weather {echo(name)} in the catalogue. The nearest names: {listed}."
        )
