"""Screenshots of pages, the checks that every page must pass, and links in mails."""

import re
from typing import Literal

import httpx
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.checkout import ROOT
from tests.flows.stack import Stack

SHOTS = ROOT / "test-artifacts" / "screenshots"
# Both themes and both widths: light on a phone, dark on a wide screen.
_CHECKED: tuple[tuple[int, Literal["light", "dark"]], ...] = ((360, "light"), (1280, "dark"))
_SHOT_ALSO: tuple[tuple[int, Literal["light", "dark"]], ...] = ((360, "dark"), (1280, "light"))

_VIOLATIONS = """async () => {
    return (await axe.run({resultTypes: ["violations"]})).violations.map(
        each => [each.impact, `${each.id}: ${each.help} (${each.nodes[0].html.slice(0, 200)})`]);
}"""

_asked = False


def ask_for_shots(asked: bool) -> None:
    """Set whether pages that pass are shot, too: a picture takes as long as the checks of its page."""
    global _asked  # noqa: PLW0603 - an option of the test process
    _asked = asked


def shoot(page: Page, name: str) -> None:
    """Save a screenshot of the whole page, if pictures were asked for."""
    if _asked:
        _save(page, name)


def _save(page: Page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def check_page(page: Page, name: str) -> None:
    """Assert that the page fits a phone and that axe finds no serious violation in either theme.

    Light colours are checked on a phone and dark ones on a wide screen: a theme changes nothing but
    colours, and a phone hides nothing but empty cells. A failure saves `<name>-<width>-<scheme>.png`;
    with `--screenshots` each of two widths and two colour schemes is saved.
    """
    # A click waits for the next page to begin only; half of one may be wider than its style allows.
    page.wait_for_load_state()
    before = page.viewport_size
    for width, scheme in _CHECKED + (_SHOT_ALSO if _asked else ()):
        page.set_viewport_size({"width": width, "height": 850})
        page.emulate_media(color_scheme=scheme)
        shot = f"{name}-{width}-{scheme}"
        shoot(page, shot)
        needed = page.evaluate("document.documentElement.scrollWidth")
        found = _violations(page)
        if needed > width or found:
            _save(page, shot)
        assert needed <= width, f"{shot} is {needed} pixels wide"
        assert not found, f"{shot}: {found}"
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)


def _violations(page: Page) -> list[str]:
    """Return the serious violations of axe's rules, each with its first element."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(_VIOLATIONS)
    return [text for impact, text in found if impact in {"serious", "critical"}]


def mailed_link(stack: Stack, recipient: str, pattern: str, *, about: str = "") -> str:
    """Return the link that the mail catcher has for a recipient, with `about` in its subject."""
    mail = f"{stack.facts['urls']['mail']}/api/v1"

    def find() -> str:
        for each in httpx.get(f"{mail}/messages").json()["messages"]:
            if each["To"][0]["Address"] == recipient and about in each["Subject"]:
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
