"""Tasks that the queue delivers to the worker."""

from django.core.mail import send_mail
from django.tasks import task

from contact.models import Inquiry


@task()
def send_receipt(message_id: int) -> None:
    message = Inquiry.objects.get(pk=message_id)
    if not message.answered:  # a queue may deliver twice
        send_mail("We got your message", message.text, "us@example.org", [message.sender])
        Inquiry.objects.filter(pk=message_id).update(answered=True)
