"""Check of a stage as a new user: sign up, receive the mail, confirm the address, sign in, delete the account."""

import re
import secrets
from functools import partial
from urllib.parse import urlsplit

import requests

from deploy.layout import Layout
from deploy.mailbox import VerifyMailbox
from deploy.verify import CheckFailed, StageCheck, wait_for

NAME = "sign-up by mail"
_REQUEST_SECONDS = 90.0
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """A browser without JavaScript: cookies, and forms with their tokens."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def open(self, path: str) -> str:
        """Return a page. Raises CheckFailed."""
        answer = self._session.get(f"{self._url}{path}", timeout=_REQUEST_SECONDS)
        if not answer.ok:
            raise CheckFailed(f"{self._url}{path} answers {answer.status_code}, not 200")
        return answer.text

    def submit(self, path: str, **fields: str) -> str:
        """Send the form of a page; return the path that it leads to. Raises CheckFailed."""
        token = _TOKEN.search(self.open(path))
        if not token:
            raise CheckFailed(f"{self._url}{path} has no form")
        answer = self._session.post(
            f"{self._url}{path}",
            data={**fields, "csrfmiddlewaretoken": token[1]},
            headers={"Referer": f"{self._url}{path}"},
            timeout=_REQUEST_SECONDS,
            allow_redirects=False,
        )
        if answer.status_code != 302:
            raise CheckFailed(
                f"the form of {self._url}{path} is answered {answer.status_code}, not 302"
            )
        return urlsplit(answer.headers["Location"]).path


def sign_up_check(layout: Layout, mailbox: VerifyMailbox, seconds: float) -> StageCheck:
    """Return the check; the mail must arrive within `seconds`."""
    return StageCheck(NAME, partial(_sign_up, layout, mailbox, seconds))


def _sign_up(layout: Layout, mailbox: VerifyMailbox, seconds: float) -> None:
    address = mailbox.address(secrets.token_hex(6))
    password = secrets.token_urlsafe(24)
    visitor = Visitor(layout.names.web_url)
    if "csrfmiddlewaretoken" not in visitor.open("/accounts/signup/"):
        raise CheckFailed(
            "sign-up is closed or by invitation in the site settings; open it for the check"
        )
    visitor.submit("/accounts/signup/", email=address, password1=password, password2=password)
    text = wait_for(lambda: mailbox.text_to(address), seconds=seconds)
    if text is None:
        raise CheckFailed(
            f"no mail to {address} arrived within {seconds:.0f} s; the worker's log says why, and the provider's"
            " page whether it was sent"
        )
    visitor.submit(_confirmation(text, layout.names.site_url))
    visitor.submit("/accounts/login/", login=address, password=password)
    visitor.open("/app/")
    # Nothing must be left: the account goes, and with it its workspace.
    visitor.submit("/app/users/delete/", confirmation=address)


def _confirmation(text: str, site_url: str) -> str:
    """Return the path of the link in a mail. Raises CheckFailed if it leads elsewhere."""
    link = re.search(r"(https?://[^/\s]+)(/accounts/confirm-email/\S+)", text)
    if not link:
        raise CheckFailed("the mail has no link that confirms the address")
    if link[1] != site_url:
        raise CheckFailed(f"the link of the mail leads to {link[1]}, not to {site_url}")
    return link[2]
