"""Choice of related rows in the admin site, which also takes what no browser sends."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey
from django.http import HttpRequest


class TolerantAutocompleteSelect(AutocompleteSelect):
    """Autocomplete that shows no choice for a value that is no key.

    Django's own asks the database for it, and fails with ValueError when the refused form is shown.
    """

    def optgroups(self, name: str, value: Any, attrs: Any = None) -> Any:
        try:
            return super().optgroups(name, value, attrs)
        except (ValueError, ValidationError):
            return super().optgroups(name, [], attrs)


class AutocompleteAdmin:
    """Mixin of admins with `autocomplete_fields`."""

    def formfield_for_foreignkey(
        self: Any, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            using = kwargs.get("using")
            widget = TolerantAutocompleteSelect(db_field, self.admin_site, using=using)
            kwargs.setdefault("widget", widget)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]
