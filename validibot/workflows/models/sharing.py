"""Links for people without an account: launch links, and the badge of a workflow."""

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from validibot.accounts.models import Organisation


class LaunchLink(models.Model):
    """A link to the public page of a workflow, until `expires_at`, `revoked_at` or `max_launches`.

    Only a keyed digest of its token is kept. `workflow` is the slug: the link opens the newest active
    version. `launches` counts the runs that were started.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="launch_links", db_index=False
    )
    workflow = models.SlugField(max_length=60, db_index=False)
    name = models.CharField(max_length=150)
    token_digest = models.CharField(max_length=64, unique=True, db_column="digest")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    max_launches = models.PositiveIntegerField(validators=[MinValueValidator(1)])
    launches = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["organisation", "workflow"], name="launch_links_of_workflow")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()

    @property
    def is_used_up(self) -> bool:
        return self.launches >= self.max_launches

    @property
    def is_open(self) -> bool:
        """Whether a further run may be started with it."""
        return not (self.revoked_at or self.is_expired or self.is_used_up)

    @property
    def launches_left(self) -> int:
        return max(0, self.max_launches - self.launches)


class WorkflowBadge(models.Model):
    """The public badge of a workflow: an image of its last result.

    The token is kept as it is, because the page of the workflow shows it; it opens the image only.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="badges", db_index=False
    )
    workflow = models.SlugField(max_length=60, db_index=False)
    token = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organisation", "workflow"], name="badge_of_workflow")
        ]

    def __str__(self) -> str:
        return self.workflow
