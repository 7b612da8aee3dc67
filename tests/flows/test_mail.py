"""The mails of the product arrive in the mail catcher."""

import re
import uuid
from typing import Any

import httpx
import pytest

from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")


def _token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text[:500]
    return found[1]


def _submit(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    fields["csrfmiddlewaretoken"] = _token(browser.get(path))
    return browser.post(path, data=fields)


def _mail_to(stack: Stack, address: str) -> dict[str, Any]:
    mail = stack.facts["urls"]["mail"]

    def arrived() -> dict[str, Any] | None:
        messages = httpx.get(f"{mail}/api/v1/messages").json()["messages"]
        return next((m for m in messages if m["To"][0]["Address"] == address), None)

    found = stack.until(arrived)
    message: dict[str, Any] = httpx.get(f"{mail}/api/v1/message/{found['ID']}").json()
    return message


@pytest.mark.both_clouds
def test_sign_up_verifies_address_and_creates_workspace(stack: Stack) -> None:
    address = f"{uuid.uuid4().hex[:8]}@example.com"
    password = uuid.uuid4().hex
    with httpx.Client(base_url=stack.web, follow_redirects=True) as browser:
        _submit(browser, "/accounts/signup/", email=address, password1=password, password2=password)
        text = _mail_to(stack, address)["Text"]
        link = re.search(r"https?://\S+/accounts/confirm-email/\S+", text)
        assert link, text
        _submit(browser, httpx.URL(link[0]).path)
        _submit(browser, "/accounts/login/", login=address, password=password)

        assert "workspace" in browser.get("/app/").text


def test_failed_run_from_page_sends_mail(stack: Stack) -> None:
    login = stack.facts["login"]
    with httpx.Client(base_url=stack.web, follow_redirects=True) as browser:
        _submit(browser, "/accounts/login/", login=login["email"], password=login["password"])
        page = f"/app/orgs/{stack.facts['org']}/workflows/meter-readings-schema/"
        name = f"{uuid.uuid4().hex}.json"
        form = {"csrfmiddlewaretoken": _token(browser.get(page))}
        browser.post(page, data=form, files={"file": (name, b"[]")}).raise_for_status()

        def mailed() -> bool:
            mail = stack.facts["urls"]["mail"]
            messages = httpx.get(f"{mail}/api/v1/messages").json()["messages"]
            return any(name in message["Subject"] for message in messages)

        assert stack.until(mailed)
        assert re.search(r"Notifications, \d+ unread", browser.get(page).text)
