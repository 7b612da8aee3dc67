"""The endpoints of language models that AI reviews ask, and what organisations used of them.

The site has one endpoint, and each organisation may have its own.
"""

from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation
from validibot.core.echo import echo
from validibot.core.outbound import AddressRefused, check_address
from validibot.core.sealing import seal, unseal

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_ANSWER_TOKENS = 32_000
MAX_SECONDS = 300
_MILLION = 1_000_000
_PRICE: dict[str, Any] = {
    "max_digits": 10,
    "decimal_places": 4,
    "default": Decimal(0),
    "db_default": Decimal(0),
    "validators": [MinValueValidator(0)],
}
_BUDGET: dict[str, Any] = {
    "max_digits": 10,
    "decimal_places": 2,
    "default": Decimal(0),
    "db_default": Decimal(0),
    "validators": [MinValueValidator(0)],
    "help_text": _(
        "In the currency of the prices. Further reviews are refused until the next month. 0: no limit."
    ),
}
_PATH = "/chat/completions"


def check_endpoint(url: str) -> None:
    """Check the base address of an endpoint: http or https, without a user name or password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValidationError(f"{echo(url)} cannot be read: {error}.") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValidationError(f"{echo(url)} must begin with https:// or http:// and name a host.")
    if parts.username or parts.password:
        raise ValidationError("The address must not hold a password: enter it as the key.")


def check_public_endpoint(url: str) -> None:
    """Check the base address of an organisation's endpoint: as a webhook's, and nothing after its path."""
    try:
        check_address(url)
    except AddressRefused as error:
        raise ValidationError(str(error)) from None
    parts = urlsplit(url)
    if parts.query or parts.fragment or not parts.netloc.isprintable():
        raise ValidationError(
            _("The address must end with its path: leave out ? and # and what follows.")
        )
    if parts.path.rstrip("/").endswith(_PATH):
        raise ValidationError(_("Leave out /chat/completions: it is added to the address."))


def check_ai_key(key: str) -> None:
    """Check that a key can be sent in a header."""
    if not key.isascii() or not key.isprintable() or " " in key:
        message = _("The key has a space or a character that no key has. Copy it again.")
        raise ValidationError(message)


class ModelEndpoint(models.Model):
    """An endpoint that speaks OpenAI's protocol, with its key, its prices and the budget of a month.

    `sealed_key` is the API key, encrypted (see `core.sealing`). `keeper` is the person who can change
    the endpoint, and `place` where, in the words of messages.
    """

    keeper: ClassVar[str]
    place: ClassVar[str]

    url = models.CharField(
        _("address"),
        max_length=500,
        validators=[check_public_endpoint],
        help_text=_(
            "The address before /chat/completions of an endpoint that speaks OpenAI's protocol, such as"
            " https://api.openai.com/v1."
        ),
    )
    model = models.CharField(
        _("model"),
        max_length=150,
        help_text=_("The name that the endpoint knows. The model must support structured outputs."),
    )
    sealed_key = models.TextField(blank=True, editable=False)
    currency = models.CharField(
        _("currency of the prices"),
        max_length=3,
        default="USD",
        db_default="USD",
        validators=[RegexValidator("^[A-Z]{3}$", _("Enter three capital letters, such as USD."))],
    )
    prompt_price = models.DecimalField(_("price of a million tokens sent"), **_PRICE)
    answer_price = models.DecimalField(_("price of a million tokens answered"), **_PRICE)
    monthly_budget = models.DecimalField(_("budget in a month"), **_BUDGET)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.model} at {self.host}" if self.url else "switched off"

    def clean(self) -> None:
        if self.url and not self.model:
            raise ValidationError({"model": _("Name the model that the endpoint has.")})
        if self.monthly_budget and not (self.prompt_price or self.answer_price):
            message = _("A budget is compared with what tokens cost: enter the prices.")
            raise ValidationError({"monthly_budget": message})

    def cost(self, prompt_tokens: int, answer_tokens: int) -> Decimal:
        """Return the cost of a request, in `currency`."""
        price = prompt_tokens * self.prompt_price + answer_tokens * self.answer_price
        return price / _MILLION

    @property
    def host(self) -> str:
        """Host and port of the address."""
        return urlsplit(self.url).netloc

    @property
    def key(self) -> str:
        """The API key, or "". Raises SealBroken."""
        return unseal(self.sealed_key) if self.sealed_key else ""

    @key.setter
    def key(self, key: str) -> None:
        self.sealed_key = seal(key) if key else ""


class AiEndpoint(ModelEndpoint):
    """The language model of the site, and the limits of all reviews: the one row of this table.

    A new deployment has no row and takes the AI_ENDPOINT_… variables.
    """

    keeper = "an operator"
    place = "in the admin site"

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    url = models.CharField(
        _("address"),
        max_length=500,
        blank=True,
        validators=[check_endpoint],
        help_text=_(
            "The address before /chat/completions of an endpoint that speaks OpenAI's protocol, such as"
            " https://api.openai.com/v1. Empty: the site has no model of its own."
        ),
    )
    model = models.CharField(
        _("model"), max_length=150, blank=True, help_text=_("The name that the endpoint knows.")
    )
    is_offered = models.BooleanField(
        _("offered to organisations"),
        default=True,
        db_default=True,
        help_text=_("An organisation that has no endpoint of its own uses this one."),
    )
    max_document_bytes = models.PositiveIntegerField(
        _("largest document in bytes"),
        default=100_000,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DOCUMENT_BYTES)],
    )
    max_answer_tokens = models.PositiveIntegerField(
        _("most tokens of an answer"),
        default=4000,
        validators=[MinValueValidator(100), MaxValueValidator(MAX_ANSWER_TOKENS)],
    )
    timeout_seconds = models.PositiveIntegerField(
        _("time limit of a review in seconds"),
        default=60,
        validators=[MinValueValidator(5), MaxValueValidator(MAX_SECONDS)],
        help_text=_("With all repetitions."),
    )
    monthly_tokens = models.PositiveBigIntegerField(
        _("tokens of an organisation in a month"),
        default=1_000_000,
        help_text=_(
            "Of this endpoint. Further reviews are refused until the next month. 0: no limit."
        ),
    )
    monthly_budget = models.DecimalField(_("budget of an organisation in a month"), **_BUDGET)

    class Meta:
        verbose_name = verbose_name_plural = _("AI endpoint")
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="ai_endpoint_is_one_row")
        ]

    @classmethod
    def load(cls) -> "AiEndpoint":
        """Return the row, or an unsaved one with the settings' values."""
        if stored := cls.objects.first():
            return stored
        made = cls(url=settings.AI_ENDPOINT_URL, model=settings.AI_ENDPOINT_MODEL)
        made.key = settings.AI_ENDPOINT_KEY
        return made

    @property
    def is_set_up(self) -> bool:
        return bool(self.url)


class OrganisationAiEndpoint(ModelEndpoint):
    """The language model of one organisation, which asks it in place of the site's.

    The site's limits of size and time apply to it, too; the tokens of a month are its own matter.
    """

    keeper = "an owner or admin"
    place = "in the settings of the organisation"

    organisation = models.OneToOneField(
        Organisation, on_delete=models.CASCADE, primary_key=True, related_name="ai_endpoint"
    )

    class Meta:
        verbose_name = _("AI endpoint of an organisation")
        verbose_name_plural = _("AI endpoints of organisations")


class MonthlyAiUsage(models.Model):
    """The tokens, requests and cost of an organisation in a month; `month` is its first day, in UTC.

    `cost` is the sum at the prices of each request, in the currency that the endpoint had then.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    month = models.DateField()
    tokens = models.PositiveBigIntegerField(default=0)
    requests = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(
        max_digits=16, decimal_places=6, default=Decimal(0), db_default=Decimal(0)
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.organisation} {self.month:%Y-%m}: {self.tokens:,} tokens"


class AiUsage(MonthlyAiUsage):
    """The usage of the site's endpoint."""

    class Meta:
        verbose_name_plural = "AI usage"
        ordering: ClassVar = ["-month"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organisation", "month"], name="ai_usage_of_month")
        ]


class OwnAiUsage(MonthlyAiUsage):
    """The usage of an organisation's own endpoint, whichever that was."""

    class Meta:
        verbose_name_plural = "AI usage of own endpoints"
        ordering: ClassVar = ["-month"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organisation", "month"], name="own_ai_usage_of_month")
        ]
