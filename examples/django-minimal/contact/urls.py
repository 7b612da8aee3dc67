"""Pages of the public service, and the endpoint of the private one, which runs tasks."""

import json

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.module_loading import import_string

from contact.models import Inquiry
from contact.tasks import send_receipt


def messages(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        message = Inquiry.objects.create(sender=request.POST["sender"], text=request.POST["text"])
        send_receipt.enqueue(message.pk)
    lines = [f"{message}\n" for message in Inquiry.objects.all()]
    return HttpResponse("".join(lines), content_type="text/plain")


def deliver(request: HttpRequest) -> HttpResponse:  # Cloud Run lets only the queue in
    call = json.loads(request.body)
    import_string(call["task"]).call(*call["args"], **call["kwargs"])  # an exception: once more
    return HttpResponse(status=204)


urlpatterns = [path("tasks/", deliver)] if settings.IS_WORKER else [path("", messages)]
