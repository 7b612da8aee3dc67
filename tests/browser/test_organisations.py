"""The life of an organisation in a browser: creation, invitation, guests, projects, keys, deletion."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.screens import check_page, mailed_link, verify_address
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")

PASSWORD = "correct-horse-7"


def _button(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def _invite(page: Page, email: str, role: str) -> None:
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Role", exact=True).select_option(label=role)
    _button(page, "Send invitation")
    expect(page.get_by_text(f"Invitation sent to {email}")).to_be_visible()


def _accept_with_new_account(page: Page, stack: Stack, link: str, email: str) -> None:
    page.goto(link)
    check_page(page, "invitation")
    page.get_by_role("link", name="Create an account").click()
    expect(page.get_by_label("Email")).to_have_value(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    _button(page, "Sign up")
    verify_address(page, stack, email, PASSWORD)
    check_page(page, "invitation-fits")
    _button(page, "Accept")


def test_owner_invites_author_who_accepts_with_new_account(
    visitor: Page, stack: Stack, browser: Browser
) -> None:
    email = "ada.author@example.org"
    visitor.goto(f"{stack.web}/app/orgs/")
    check_page(visitor, "organisations")
    visitor.get_by_label("Name").fill("Acme Energy")
    _button(visitor, "Create organisation")
    check_page(visitor, "members-empty")
    _invite(visitor, email, "Author")
    check_page(visitor, "members-invited")

    link = mailed_link(stack, email, r"http://\S+/invitations/\S+")
    other = browser.new_page()
    _accept_with_new_account(other, stack, link, email)
    expect(other.get_by_text("Welcome to Acme Energy")).to_be_visible()
    expect(other).to_have_url(re.compile("/app/orgs/acme-energy/workflows/"))
    other.goto(link)
    expect(other).to_have_url(re.compile("/app/orgs/acme-energy/workflows/"))
    other.goto(f"{stack.web}/app/orgs/acme-energy/settings/members/")
    expect(other.get_by_role("button", name="Send invitation")).to_have_count(0)
    check_page(other, "members-author")
    other.close()

    visitor.reload()
    row = visitor.get_by_role("row").filter(has_text=email)
    row.get_by_role("combobox").select_option(label="Executor")
    row.get_by_role("button", name="Save").click()
    expect(visitor.get_by_text(f"{email} is now: Executor")).to_be_visible()
    check_page(visitor, "members")
    visitor.goto(f"{link}wrong/")
    visitor.goto(re.sub(r"/invitations/.*", "/invitations/wrong/", link))
    check_page(visitor, "invitation-closed")


def test_settings_of_an_organisation(visitor: Page, stack: Stack) -> None:
    settings = f"{stack.web}/app/orgs/{stack.facts['org']}/settings/"
    visitor.goto(settings)
    check_page(visitor, "organisation-settings")
    visitor.get_by_role("button", name="Delete organisation").click()
    check_page(visitor, "organisation-delete")
    for path, name in {"roles/": "roles", "projects/": "projects", "guests/": "guests"}.items():
        visitor.goto(f"{settings}{path}")
        check_page(visitor, name)

    visitor.goto(f"{settings}projects/")
    visitor.get_by_label("Name").fill("Offices")
    visitor.get_by_title("Violet").click()
    _button(visitor, "Create project")
    check_page(visitor, "projects-two")
    visitor.get_by_role("link", name="Offices", exact=True).click()
    check_page(visitor, "project")

    visitor.goto(f"{settings}guests/")
    visitor.get_by_label("Email address").fill("gus.guest@example.org")
    visitor.get_by_role("checkbox").first.check()
    _button(visitor, "Send invitation")
    check_page(visitor, "guests-invited")

    visitor.get_by_label("Organisation: Demo").click()
    visitor.get_by_role("link", name="Demo's workspace").click()
    expect(visitor).to_have_url(re.compile("/app/orgs/(?!demo/)[^/]+/settings/guests/"))


def test_keys_are_created_copied_and_rotated(visitor: Page, stack: Stack) -> None:
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/settings/keys/")
    check_page(visitor, "service-keys-empty")
    visitor.get_by_label("What is it for?").fill("Nightly checks")
    _button(visitor, "Create key")
    expect(visitor.locator("#key-text")).to_contain_text("vbk_1_")
    check_page(visitor, "service-keys-new")
    visitor.get_by_role("button", name="Rotate Nightly checks").click()
    check_page(visitor, "service-keys-rotate")
    visitor.get_by_role("button", name="Create the new key").click()
    expect(visitor.get_by_role("cell", name="replaced")).to_be_visible()
