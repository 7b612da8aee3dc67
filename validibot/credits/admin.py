"""Credits in the admin site, where operators grant them."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import User
from validibot.core.autocomplete import AutocompleteAdmin
from validibot.credits.ledger import MAX_AMOUNT, adjust, grant
from validibot.credits.models import CreditAccount, EntryKind, LedgerEntry


@admin.register(CreditAccount)
class CreditAccountAdmin(AutocompleteAdmin, admin.ModelAdmin[CreditAccount]):
    """Admin of balances; a balance is changed by adding an entry to the ledger."""

    list_display = ("organisation", "balance", "is_limited")
    list_filter = ("is_limited",)
    search_fields = ("organisation__name", "organisation__slug")
    readonly_fields = ("balance", "created_at")
    autocomplete_fields = ("organisation",)

    def get_readonly_fields(
        self, request: HttpRequest, obj: CreditAccount | None = None
    ) -> tuple[str, ...]:
        return ("organisation", "balance", "created_at") if obj else ("balance", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: CreditAccount | None = None) -> bool:
        return False


class LedgerEntryForm(forms.ModelForm[LedgerEntry]):
    """A grant or a correction, made by the operator."""

    operator: User
    kind = forms.ChoiceField(
        choices=[(each.value, each.label) for each in (EntryKind.GRANT, EntryKind.ADJUST)],
        help_text=_("A correction may be negative."),
    )
    amount = forms.IntegerField(min_value=-MAX_AMOUNT, max_value=MAX_AMOUNT)

    class Meta:
        model = LedgerEntry
        fields: ClassVar = ["organisation", "kind", "amount", "note"]

    def clean(self) -> dict[str, Any]:
        """Make the change: only the database knows whether the balance allows it.

        The admin site takes it back, with the whole request, if anything after it fails.
        """
        values: dict[str, Any] = super().clean() or {}
        if not self.errors:
            change = grant if values["kind"] == EntryKind.GRANT else adjust
            self.instance = change(
                values["organisation"], values["amount"], user=self.operator, note=values["note"]
            )
        return values


@admin.register(LedgerEntry)
class LedgerEntryAdmin(AutocompleteAdmin, admin.ModelAdmin[LedgerEntry]):
    """Admin of ledgers: entries are added, and never changed."""

    form = LedgerEntryForm
    list_display = ("at", "organisation", "kind", "amount", "run", "workflow", "user", "note")
    list_filter = ("kind",)
    search_fields = ("organisation__slug", "workflow", "run")
    autocomplete_fields = ("organisation",)
    show_full_result_count = False

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> type[LedgerEntryForm]:
        base: Any = super().get_form(request, *args, **kwargs)
        return type(base.__name__, (base,), {"operator": request.user})

    def save_model(self, request: HttpRequest, obj: LedgerEntry, form: Any, change: bool) -> None:
        """Do nothing: the form has made the entry."""

    def has_change_permission(self, request: HttpRequest, obj: LedgerEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: LedgerEntry | None = None) -> bool:
        return False
