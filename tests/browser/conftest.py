"""Fixtures of the browser tests: a running stack, and Chromium as a system package."""

import shlex
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import quiet_network, screens
from tests.flows import stack as stacks
from tests.flows.stack import Stack
from tests.waiting import LIMIT

# The headless shell has no windows and menus to care for: it costs half the processor time.
_BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")

# Of themselves 5 s and 30 s, which a busy machine may need for a page.
_TIMEOUT = 2_000 * LIMIT
expect.set_options(timeout=_TIMEOUT)


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Allow sockets; other tests may not use them."""


@pytest.fixture(autouse=True)
def _screenshots(pytestconfig: pytest.Config) -> None:
    screens.ask_for_shots(pytestconfig.getoption("screenshots"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium for one module: Playwright keeps an event loop in this thread meanwhile."""
    chromium = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium-headless-shell")
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    args = ["--no-sandbox", "--disable-sync", "--no-first-run", *quiet]
    start = tmp_path_factory.mktemp("chromium") / "start"
    command = shlex.join([sys.executable, quiet_network.__file__, chromium])
    start.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    start.chmod(0o755)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=start, args=args)
        launched.on("context", lambda context: context.set_default_timeout(_TIMEOUT))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open an empty page in a context of its own; an error of a script there fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 850})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = stacks.make(tmp_path_factory.mktemp("stack") / "browser")
    stacks.start(made)
    yield made
    stacks.stop(made)


@pytest.fixture(scope="session")
def cookies() -> list[Any]:
    """Return the cookies of the demo user; empty until a first test has signed in."""
    return []


@pytest.fixture
def visitor(page: Page, stack: Stack, cookies: list[Any]) -> Page:
    """Return a page on which the demo user is signed in."""
    if cookies:
        page.context.add_cookies(cookies)
    else:
        login = stack.facts["login"]
        page.goto(f"{stack.web}/accounts/login/")
        page.get_by_label("Email").fill(login["email"])
        page.get_by_label("Password").fill(login["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url("**/app/**")
        cookies.extend(page.context.cookies())
    # Other tests make organisations, of which one may be the first of the list.
    page.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/workflows/")
    return page
