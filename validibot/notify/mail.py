"""Mails about runs."""

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from validibot.core.mail import deliver


def run_finished(
    *, recipient: str, filename: str, workflow: str, result: str, sentence: str, url: str
) -> None:
    """Tell `recipient` how a run ended. `result` is PASS, FAIL, ERROR, …; `url` its page.

    Raises core.mail.RecipientRefused, and the mailer's own errors in an outage.
    """
    context = {
        "filename": filename,
        "workflow": workflow,
        "result": result,
        "sentence": sentence,
        "url": url,
    }
    message = EmailMultiAlternatives(
        # On one line: a file may be called as it likes, and a header must not be broken.
        subject=" ".join(f"{result}: {filename} · {workflow}".split()),
        body=render_to_string("notify/run_finished.txt", context),
        to=[recipient],
    )
    message.attach_alternative(render_to_string("notify/run_finished.html", context), "text/html")
    deliver(message)
