"""Screenshots of pages, the checks that every page must pass, and links in mails."""

import re
from pathlib import Path
from typing import Literal

import httpx
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.checkout import ROOT
from tests.flows.stack import Stack

SHOTS = ROOT / "test-artifacts" / "screenshots"
_WIDTHS = (360, 1280)
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

_VIOLATIONS = """async rules => {
    const options = {resultTypes: ["violations"], ...(rules && {runOnly: rules})};
    return (await axe.run(options)).violations.map(
        each => [each.impact, `${each.id}: ${each.help} (${each.nodes[0].html.slice(0, 200)})`]);
}"""
# A colour scheme changes nothing but colours.
_RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"]


def shoot(page: Page, name: str) -> Path:
    """Save a screenshot of the whole page."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path


def check_page(page: Page, name: str) -> None:
    """Assert that the page fits a phone and that axe finds no serious violation in either theme.

    Saves `<name>-<width>-<scheme>.png` for each of two widths and two colour schemes.
    """
    before = page.viewport_size
    for width in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 850})
        for scheme in _SCHEMES:
            page.emulate_media(color_scheme=scheme)
            shoot(page, f"{name}-{width}-{scheme}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            found = _violations(page, None if scheme == "light" else _RULES_OF_COLOURS)
            assert not found, f"{name}, {width} pixels, {scheme}: {found}"
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)


def _violations(page: Page, rules: list[str] | None) -> list[str]:
    """Return the serious violations of all or some of axe's rules, each with its first element."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(_VIOLATIONS, rules)
    return [text for impact, text in found if impact in {"serious", "critical"}]


def mailed_link(stack: Stack, recipient: str, pattern: str) -> str:
    """Return the link that the mail catcher has for a recipient."""
    mail = f"{stack.facts['urls']['mail']}/api/v1"

    def find() -> str:
        for each in httpx.get(f"{mail}/messages").json()["messages"]:
            if each["To"][0]["Address"] == recipient:
                text = httpx.get(f"{mail}/message/{each['ID']}").json()["Text"]
                if found := re.search(pattern, text):
                    return found[0]
        return ""

    return str(stack.until(find))


def verify_address(page: Page, stack: Stack, email: str, password: str) -> None:
    """Open the link of the mail after sign-up, confirm the address and sign in."""
    page.goto(mailed_link(stack, email, r"http://\S+/accounts/confirm-email/\S+"))
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
