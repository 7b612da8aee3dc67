"""Featured images of workflows."""

from typing import ClassVar

from django.db import models

from validibot.accounts.models import Organisation


class WorkflowImage(models.Model):
    """The featured image of a workflow in all its versions, as it was re-encoded (see `images`).

    `workflow` is the slug. `sha256` names the content for caches.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="workflow_images", db_index=False
    )
    workflow = models.SlugField(max_length=60, db_index=False)
    content = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "workflow"], name="one_image_per_workflow"
            )
        ]

    def __str__(self) -> str:
        return f"image of {self.workflow}"
