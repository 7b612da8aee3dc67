"""Mails that the product sends.

A mail that its recipient's server refuses for good (an SMTP reply of 5xx) can never be delivered; it is
told apart from an outage, after which the same mail is sent again.
"""

from smtplib import SMTPRecipientsRefused

from anymail.exceptions import AnymailRecipientsRefused
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string


class RecipientRefused(Exception):
    """The recipient is refused for good."""


def run_finished(
    *, recipient: str, filename: str, workflow: str, result: str, sentence: str, url: str
) -> None:
    """Tell `recipient` how a run ended. `result` is PASS, FAIL, ERROR, …; `url` its page.

    Raises RecipientRefused, and the mail backend's own errors in an outage.
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
    try:
        message.send()
    except AnymailRecipientsRefused as error:
        raise RecipientRefused(str(error)) from error
    except SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if not all(500 <= code < 600 for code in codes):
            raise
        raise RecipientRefused(f"{recipient}: SMTP replies {codes}") from error
