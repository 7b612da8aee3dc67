"""A visit to the pages: sign in, start a run, watch it, download, create an API key."""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screens import check_page, shoot
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")


def _open(page: Page, workflow: str) -> None:
    page.get_by_role("link", name=workflow).first.click()


def test_sample_run_updates_its_page_until_it_passes(visitor: Page, stack: Stack) -> None:
    shoot(visitor, "workflows")
    _open(visitor, "EnergyPlus: small office")
    shoot(visitor, "workflow")
    visitor.get_by_role("button", name="Use the sample").click()

    live = visitor.locator(".verdict")
    expect(live).to_have_attribute("data-state", "RUNNING")
    shoot(visitor, "run-live")
    expect(live).to_have_attribute("data-result", "PASS")
    for station in ("created", "queued", "delivered", "launched", "running", "called back"):
        expect(visitor.locator(".timeline")).to_contain_text(station)
    expect(visitor.locator(".metrics").first).to_contain_text("kWh")
    shoot(visitor, "run-passed")


def test_artifact_download_has_stored_content(visitor: Page, stack: Stack) -> None:
    run = stack.run("energyplus-design-day", stack.sample("energyplus-design-day"))
    wanted = next(a for a in run["steps"][0]["artifacts"] if a["name"] == "eplusout.err")
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/runs/{run['id']}/")
    visitor.get_by_text("artifacts", exact=False).first.click()
    with visitor.expect_download() as download:
        visitor.get_by_role("link", name="eplusout.err", exact=True).click()

    content = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest() == wanted["sha256"]
    visitor.get_by_text("Charts of eplusout.csv").click()
    expect(visitor.locator(".charts polyline").first).to_be_visible()
    check_page(visitor, "run-charts")
    visitor.get_by_role("link", name="Show eplusout.csv").click()
    expect(visitor.locator(".chart")).not_to_have_count(0)
    check_page(visitor, "preview")


def test_failing_file_shows_failed_step_and_findings(visitor: Page, stack: Stack) -> None:
    _open(visitor, "EnergyPlus: small office")
    failing = stack.sample("energyplus-small-office", "failing_sample")
    visitor.locator("input[name=file]").set_input_files(failing)
    expect(visitor.locator("[data-drop-title]")).to_have_text(failing.name)
    visitor.get_by_role("button", name="Run", exact=True).click()

    expect(visitor.locator(".verdict")).to_have_attribute("data-result", "FAIL")
    expect(visitor.locator(".verdict")).to_contain_text("Step 1")
    expect(visitor.locator(".findings").first).to_be_visible()
    shoot(visitor, "run-failed")


def test_finding_leads_to_its_place_in_the_document(visitor: Page, stack: Stack) -> None:
    sample = stack.sample("meter-readings-schema", "failing_sample")
    run = stack.run("meter-readings-schema", sample)["id"]
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/runs/{run}/")
    visitor.get_by_role("link", name="beside the document").click()
    marked = visitor.locator("#place .marked")
    expect(marked).to_be_visible()
    visitor.get_by_role("link", name="line").last.click()

    last = visitor.get_by_role("link", name="line").last.inner_text()
    expect(marked).to_have_attribute("value", last.removeprefix("line ").split(",")[0])


def test_run_again_repeats_run_and_compares(visitor: Page, stack: Stack) -> None:
    run = stack.run("meter-readings-schema", stack.sample("meter-readings-schema"))["id"]
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/runs/{run}/")
    visitor.get_by_role("button", name="Run again").click()
    expect(visitor.locator(".verdict")).to_have_attribute("data-result", "PASS")
    visitor.get_by_text("More", exact=True).click()
    visitor.get_by_role("link", name="Compare with the run that this repeats").click()

    expect(visitor.get_by_role("heading", name="Comparison of two runs")).to_be_visible()


def test_file_of_wrong_type_is_refused_with_message(visitor: Page, tmp_path: Path) -> None:
    _open(visitor, "EnergyPlus: small office")
    wrong = tmp_path / "notes.txt"
    wrong.write_text("hello")
    visitor.locator("input[name=file]").set_input_files(wrong)
    visitor.get_by_role("button", name="Run", exact=True).click()

    expect(visitor.get_by_role("alert")).to_contain_text("notes.txt is not a file that")
    shoot(visitor, "wrong-type")


def test_new_api_key_is_shown_once(visitor: Page, stack: Stack) -> None:
    visitor.goto(f"{stack.web}/app/users/api-key/")
    visitor.get_by_label("What is it for?").fill("Laptop")
    visitor.get_by_role("button", name="Create key").click()

    expect(visitor.locator(".new-key")).to_contain_text("vbk_1_")
    shoot(visitor, "api-key")
    visitor.goto(f"{stack.web}/app/users/api-key/")
    expect(visitor.locator(".new-key")).to_have_count(0)


def test_unknown_page_shows_navigation_and_message(visitor: Page, stack: Stack) -> None:
    visitor.goto(f"{stack.web}/app/orgs/nowhere/workflows/")

    expect(visitor.get_by_role("heading", name="There is nothing here")).to_be_visible()
    expect(visitor.get_by_role("link", name="Runs")).to_be_visible()
    shoot(visitor, "not-found")


def test_pages_fit_screens_and_have_no_violation(visitor: Page, stack: Stack) -> None:
    org = f"{stack.web}/app/orgs/{stack.facts['org']}"
    sample = stack.sample("meter-readings-schema", "failing_sample")
    run = stack.run("meter-readings-schema", sample)["id"]
    model = stack.sample("energyplus-small-office", "sample")
    office = stack.run("energyplus-small-office", model)["id"]
    pages = {
        "workflows": f"{org}/workflows/",
        "workflow": f"{org}/workflows/meter-readings-schema/",
        "runs": f"{org}/runs/",
        "run": f"{org}/runs/{run}/",
        "findings": f"{org}/runs/{run}/steps/1/findings/",
        "document": f"{org}/runs/{run}/document/?line=3",
        "comparison": f"{org}/runs/{run}/compare/{run}/",
        "energyplus-run": f"{org}/runs/{office}/",
        "api-keys": f"{stack.web}/app/users/api-key/",
    }
    for name, url in pages.items():
        visitor.goto(url)
        check_page(visitor, name)
    visitor.goto(f"{org}/runs/?result=fail")
    visitor.get_by_label("Name of the view").fill("Failed runs")
    visitor.get_by_role("button", name="Save this view").click()
    expect(visitor.get_by_role("link", name="Failed runs")).to_be_visible()
    check_page(visitor, "saved-view")


def test_menu_works_with_keyboard(visitor: Page) -> None:
    menu = visitor.get_by_text("Account", exact=True)
    menu.focus()
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("link", name="Sessions")).to_be_visible()
    visitor.keyboard.press("Tab")
    visitor.keyboard.press("Escape")

    expect(visitor.get_by_role("link", name="Sessions")).to_be_hidden()
    expect(menu).to_be_focused()
