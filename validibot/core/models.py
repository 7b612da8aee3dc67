"""State of the whole deployment."""

from django.db import models


class Maintenance(models.Model):
    """A deployment is under maintenance as long as there is the one row of this table."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    since = models.DateTimeField(auto_now_add=True)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="maintenance_is_one_row")
        ]

    def __str__(self) -> str:
        return self.note or f"since {self.since:%Y-%m-%d %H:%M} UTC"
