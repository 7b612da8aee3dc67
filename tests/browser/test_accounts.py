"""The life of an account in a browser: sign-up, second factor, sessions, providers, deletion."""

import re
import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.browser.screens import check_page, mailed_link
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")

PASSWORD = "correct-horse-7"


def _code(secret: str, *, step: int = 0) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step)))


def _button(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def _sign_up(page: Page, stack: Stack, email: str) -> None:
    page.goto(f"{stack.web}/accounts/signup/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    _button(page, "Sign up")
    page.goto(mailed_link(stack, email, r"http://\S+/confirm-email/\S+"))
    _button(page, "Confirm")


def _sign_in(page: Page, stack: Stack, email: str) -> None:
    page.goto(f"{stack.web}/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    _button(page, "Sign in")


def _confirm(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)
    _button(page, "Confirm")


def _set_up_app(page: Page, stack: Stack) -> str:
    """Turn the second factor on and return its secret."""
    page.goto(f"{stack.web}/accounts/2fa/")
    check_page(page, "second-factor-off")
    page.get_by_role("link", name="Set up an app").click()
    check_page(page, "confirm-access")
    _confirm(page)
    check_page(page, "second-factor-app")
    secret = page.locator("#authenticator_secret").inner_text().strip()
    page.get_by_label("Authenticator code").fill(_code(secret))
    _button(page, "Turn on")
    check_page(page, "recovery-codes")
    expect(page.locator("#recovery_codes")).to_have_text(re.compile(r"(\d{8}\s+){9}\d{8}"))
    page.goto(f"{stack.web}/accounts/2fa/")
    check_page(page, "second-factor-on")
    return secret


def test_second_factor_is_asked_after_password(page: Page, stack: Stack, browser: Browser) -> None:
    email = "tess@example.org"
    page.goto(f"{stack.web}/accounts/signup/")
    check_page(page, "sign-up")
    _sign_up(page, stack, email)
    check_page(page, "sign-in")
    _sign_in(page, stack, email)
    secret = _set_up_app(page, stack)

    other = browser.new_page(user_agent="Other browser 1.0")
    _sign_in(other, stack, email)
    check_page(other, "second-factor")
    other.goto(f"{stack.web}/app/users/profile/")
    expect(other).to_have_url(re.compile("/accounts/2fa/authenticate/"))
    other.get_by_label("Code").fill(_code(secret, step=1))
    _button(other, "Sign in")
    expect(other).to_have_url(re.compile(f"{stack.web}/app/"))
    other.goto(f"{stack.web}/app/users/profile/")

    page.goto(f"{stack.web}/accounts/sessions/")
    expect(page.get_by_role("cell", name="Other browser 1.0", exact=True)).to_be_visible()
    check_page(page, "sessions")
    _button(page, "Sign out elsewhere")
    other.reload()
    expect(other).to_have_url(re.compile("/accounts/login/"))
    other.close()


def test_provider_signs_in_and_account_is_deleted(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.web}/accounts/login/")
    _button(page, "Sign in with the local provider")
    check_page(page, "local-provider")
    page.get_by_role("button", name="Ada Example").click()
    expect(page).to_have_url(re.compile(f"{stack.web}/app/"))

    for path, name in {
        "app/users/profile/": "profile",
        "accounts/email/": "email-address",
        "accounts/password/set/": "password-set",
        "accounts/3rdparty/": "linked-accounts",
        "accounts/2fa/webauthn/": "passkeys",
        "app/users/data/": "account-data",
        "app/users/delete/": "delete-account",
    }.items():
        page.goto(f"{stack.web}/{path}")
        check_page(page, name)
    page.get_by_label("Type ada@example.org to confirm").fill("ada@example.org")
    _button(page, "Delete the account")

    expect(page.get_by_text("Your account is deleted")).to_be_visible()
    page.goto(f"{stack.web}/app/users/profile/")
    expect(page).to_have_url(re.compile("/accounts/login/"))


def test_passkey_signs_in_without_password(page: Page, stack: Stack) -> None:
    email = "pat@example.org"
    _sign_up(page, stack, email)
    _sign_in(page, stack, email)
    authenticator = _virtual_authenticator(page)
    page.goto(f"{stack.web}/accounts/2fa/webauthn/add/")
    _confirm(page)
    page.get_by_label("Name").fill("Laptop")
    page.get_by_label("Passwordless").check()
    check_page(page, "passkey-add")
    _button(page, "Add")
    expect(page.locator("#recovery_codes, table")).to_be_visible()
    page.context.clear_cookies()

    page.goto(f"{stack.web}/accounts/login/")
    _button(page, "Use a passkey")
    expect(page).to_have_url(re.compile(f"{stack.web}/app/"))
    authenticator.detach()


def _virtual_authenticator(page: Page) -> CDPSession:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


def test_failed_run_is_notified_and_unsubscribed_from(visitor: Page, stack: Stack) -> None:
    org = f"{stack.web}/app/orgs/{stack.facts['org']}"
    visitor.goto(f"{org}/workflows/meter-readings-schema/")
    visitor.locator("input[type=file]").first.set_input_files(
        {"name": "notified.json", "mimeType": "application/json", "buffer": b"[]"}
    )
    visitor.get_by_role("button", name="Run", exact=True).click()
    visitor.wait_for_url("**/runs/**")
    email = stack.facts["login"]["email"]
    link = mailed_link(stack, email, r"http\S+/unsubscribe/\S+", about="notified.json")

    visitor.goto(f"{stack.web}/app/users/notifications/")
    expect(visitor.get_by_role("link", name=re.compile("Notifications, .* unread"))).to_be_visible()
    check_page(visitor, "notifications")
    visitor.get_by_role("link", name=re.compile("notified.json")).first.click()
    expect(visitor.get_by_role("heading", name="notified.json")).to_be_visible()
    visitor.goto(f"{org}/notifications/?workflow=meter-readings-schema")
    visitor.get_by_label("Mail").select_option("daily")
    visitor.get_by_role("button", name="Save").click()
    check_page(visitor, "notification-preferences")
    visitor.goto(link)
    visitor.get_by_role("button", name="Stop these mails").click()
    expect(visitor.get_by_role("heading", name="Unsubscribed")).to_be_visible()
