"""The endpoint of the language model that AI reviews ask, and what organisations used of it."""

from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation
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


def check_endpoint(url: str) -> None:
    """Check the base address of an endpoint: http or https, without a user name or password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValidationError(f"{url[:80]!r} cannot be read: {error}.") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValidationError(f"{url[:80]!r} must begin with https:// or http:// and name a host.")
    if parts.username or parts.password:
        raise ValidationError("The address must not hold a password: enter it as the key.")


class AiEndpoint(models.Model):
    """The language model of the site and its limits: the one row of this table.

    `sealed_key` is the API key, encrypted (see `core.sealing`). A new deployment has no row and takes
    the AI_ENDPOINT_… variables.
    """

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    url = models.CharField(
        _("address"),
        max_length=500,
        blank=True,
        validators=[check_endpoint],
        help_text=_(
            "The address before /chat/completions of an endpoint that speaks OpenAI's protocol, such as"
            " https://api.openai.com/v1. Empty: AI review is switched off."
        ),
    )
    model = models.CharField(
        _("model"), max_length=150, blank=True, help_text=_("The name that the endpoint knows.")
    )
    sealed_key = models.TextField(blank=True, editable=False)
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
        help_text=_("Further reviews are refused until the next month. 0: no limit."),
    )
    currency = models.CharField(
        _("currency of the prices"),
        max_length=3,
        default="USD",
        db_default="USD",
        validators=[RegexValidator("^[A-Z]{3}$", _("Enter three capital letters, such as USD."))],
    )
    prompt_price = models.DecimalField(_("price of a million tokens sent"), **_PRICE)
    answer_price = models.DecimalField(_("price of a million tokens answered"), **_PRICE)
    monthly_budget = models.DecimalField(
        _("budget of an organisation in a month"),
        max_digits=10,
        decimal_places=2,
        default=Decimal(0),
        db_default=Decimal(0),
        validators=[MinValueValidator(0)],
        help_text=_(
            "In the currency of the prices. Further reviews are refused until the next month. 0: no limit."
        ),
    )

    class Meta:
        verbose_name = verbose_name_plural = _("AI endpoint")
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="ai_endpoint_is_one_row")
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.url}" if self.url else "switched off"

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

    @property
    def key(self) -> str:
        """The API key, or "". Raises SealBroken."""
        return unseal(self.sealed_key) if self.sealed_key else ""

    @key.setter
    def key(self, key: str) -> None:
        self.sealed_key = seal(key) if key else ""


class AiUsage(models.Model):
    """The tokens, requests and cost of an organisation in a month; `month` is its first day, in UTC.

    `cost` is the sum at the prices of each request, in the currency that the endpoint had then.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="ai_usage", db_index=False
    )
    month = models.DateField()
    tokens = models.PositiveBigIntegerField(default=0)
    requests = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(
        max_digits=16, decimal_places=6, default=Decimal(0), db_default=Decimal(0)
    )

    class Meta:
        verbose_name_plural = "AI usage"
        ordering: ClassVar = ["-month"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organisation", "month"], name="ai_usage_of_month")
        ]

    def __str__(self) -> str:
        return f"{self.organisation} {self.month:%Y-%m}: {self.tokens:,} tokens"
