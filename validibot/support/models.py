"""Questions to the operators."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class SupportRequest(models.Model):
    """A question to the operators; `run` is the id of the run that it is about, if any.

    `user` is empty for visitors, who give an address. Operators set `answered_at` in the admin site.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="support_requests",
    )
    email = models.EmailField(_("email address"))
    subject = models.CharField(_("subject"), max_length=150)
    message = models.TextField(_("message"), max_length=5000)
    run = models.UUIDField(_("run"), null=True, blank=True)
    organisation = models.SlugField(_("organisation"), max_length=60, blank=True, db_index=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.subject

    @property
    def run_url(self) -> str:
        """The address of the run's page, "" without a run."""
        if self.run is None:
            return ""
        return f"{settings.SITE_URL}/app/orgs/{self.organisation}/runs/{self.run}/"
