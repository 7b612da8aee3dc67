"""The balance of an organisation and the entries of its ledger."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import Organisation


class EntryKind(models.TextChoices):
    """The cause of an entry. All but SETTLE change the balance."""

    GRANT = "GRANT", _("Grant")
    ADJUST = "ADJUST", _("Correction")
    RESERVE = "RESERVE", _("Reserved")
    SETTLE = "SETTLE", _("Used")
    REFUND = "REFUND", _("Given back")


class CreditAccount(models.Model):
    """The credits of an organisation; one without an account, or with one off, has no limit.

    `balance` is what a launch may still reserve. It is changed by `validibot.credits.ledger` only,
    together with an entry, and the database refuses a negative one.
    """

    organisation = models.OneToOneField(
        Organisation, primary_key=True, on_delete=models.CASCADE, related_name="credit_account"
    )
    balance = models.BigIntegerField(default=0, editable=False)
    is_limited = models.BooleanField(
        _("limited"),
        default=True,
        help_text=_("Off: runs of the organisation cost nothing, whatever the balance is."),
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(balance__gte=0), name="credit_balance_is_not_negative"
            )
        ]

    def __str__(self) -> str:
        return f"credits of {self.organisation}"


class LedgerEntry(models.Model):
    """One change: the database refuses to alter or delete it (migration 0001).

    `amount` is signed: a RESERVE is negative, and the SETTLE and REFUND entries of a run that has ended
    bring its sum to zero. The balance is the sum of all entries but those of the kind SETTLE. `run` and
    the slugs are kept as values: the ledger outlives runs and workflows. `step` is the order of the step
    that a SETTLE is for, and 0 in other entries. `user` started the run, or made the grant.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="ledger", db_index=False
    )
    at = models.DateTimeField(default=timezone.now, editable=False)
    kind = models.CharField(max_length=10, choices=EntryKind)
    amount = models.BigIntegerField()
    run = models.UUIDField(null=True, blank=True, editable=False)
    step = models.PositiveIntegerField(default=0, editable=False)
    workflow = models.CharField(max_length=60, blank=True, editable=False)
    validator = models.CharField(max_length=60, blank=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            # A run is reserved, settled and refunded once, whatever is delivered twice.
            models.UniqueConstraint(
                fields=["run", "kind", "step"],
                condition=models.Q(run__isnull=False),
                name="ledger_entry_of_run_is_unique",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=EntryKind.ADJUST)
                | models.Q(kind=EntryKind.RESERVE, amount__lt=0)
                | models.Q(amount__gt=0),
                name="ledger_amount_has_sign_of_kind",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organisation", "-id"], name="ledger_of_organisation"),
            models.Index(fields=["organisation", "kind", "at"], name="ledger_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"
