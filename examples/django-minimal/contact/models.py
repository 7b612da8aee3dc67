"""Messages of visitors."""

from django.db import models


class Inquiry(models.Model):
    sender = models.EmailField()
    text = models.TextField(max_length=2000)
    answered = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.sender}: {'answered' if self.answered else 'waiting'}"
