"""Saved views of the list of runs."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation


class SavedView(models.Model):
    """Filters of the list of runs that a user gave a name; `query` is the list's query string."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="saved_views", db_index=False
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "user", "name"], name="saved_view_name_is_unique"
            )
        ]

    def __str__(self) -> str:
        return self.name
