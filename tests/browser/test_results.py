"""From a failed run to a green one that is shared: the way of a person whose file was refused."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.screens import check_page
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")


def _launch(visitor: Page, stack: Stack, kind: str, result: str) -> str:
    """Launch a sample of the workflow and return the address of its run when it has ended."""
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/workflows/meter-readings-schema/")
    visitor.locator("input[name=file]").set_input_files(stack.sample("meter-readings-schema", kind))
    visitor.get_by_role("button", name="Run", exact=True).click()
    expect(visitor.locator(".verdict")).to_have_attribute("data-result", result)
    return visitor.url


def _share(visitor: Page, run: str) -> str:
    """Create a link to a run on its pages and return it."""
    visitor.goto(run)
    visitor.get_by_text("More", exact=True).click()
    visitor.get_by_role("link", name="Share with a link").click()
    visitor.get_by_role("button", name="Create link").click()
    return visitor.locator("#link-text").inner_text()


def test_failed_file_is_mended_compared_and_shared(
    visitor: Page, browser: Browser, stack: Stack
) -> None:
    failed = _launch(visitor, stack, "failing_sample", "FAIL")
    visitor.get_by_role("link", name="beside the document").first.click()
    expect(visitor.locator("#place .marked")).to_be_visible()

    _launch(visitor, stack, "sample", "PASS")
    visitor.get_by_text("More", exact=True).click()
    with visitor.expect_download() as report:
        visitor.get_by_role("link", name="Download a report", exact=True).click()
    assert report.value.suggested_filename.endswith(".html")
    expect(visitor.get_by_role("heading", name="Your file is ready")).to_be_visible()
    check_page(visitor, "export")
    visitor.get_by_role("link", name="Back").click()
    visitor.get_by_text("More", exact=True).click()
    visitor.locator(f".menu a[href$='compare/{failed.rstrip('/').rsplit('/', 1)[1]}/']").click()
    expect(visitor.get_by_role("heading", name="Comparison of two runs")).to_be_visible()

    link = _share(visitor, failed)
    check_page(visitor, "shares")
    private = browser.new_context()
    window = private.new_page()
    window.goto(link)
    expect(window.locator(".verdict")).to_have_attribute("data-result", "FAIL")
    expect(window.locator(".findings").first).to_be_visible()
    expect(window.locator("main a[href^='/app']")).to_have_count(0)
    check_page(window, "shared-run")

    visitor.goto(f"{failed}shares/")
    visitor.get_by_role("button", name="Revoke").first.click()
    window.reload()
    expect(window.get_by_role("heading", name="This link shows nothing")).to_be_visible()
    check_page(window, "share-closed")
    private.close()
