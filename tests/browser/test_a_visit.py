"""What a person does on the pages: sign in, launch, watch, download, make a key."""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import shoot
from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]


def _open(page: Page, workflow: str) -> None:
    page.get_by_role("link", name=workflow).first.click()


def test_the_sample_is_simulated_before_ones_eyes(visitor: Page, stack: Stack) -> None:
    shoot(visitor, "workflows")
    _open(visitor, "EnergyPlus: small office")
    shoot(visitor, "workflow")
    visitor.get_by_role("button", name="Use the sample").click()

    live = visitor.locator(".verdict")
    expect(live).to_have_attribute("data-state", "RUNNING", timeout=30_000)
    shoot(visitor, "run-live")
    expect(live).to_have_attribute("data-result", "PASS", timeout=60_000)
    for station in ("created", "queued", "delivered", "launched", "running", "called back"):
        expect(visitor.locator(".timeline")).to_contain_text(station)
    expect(visitor.locator(".metrics").first).to_contain_text("kWh")
    shoot(visitor, "run-passed")


def test_an_artifact_is_downloaded(visitor: Page, stack: Stack) -> None:
    run = stack.run("energyplus-design-day", stack.sample("energyplus-design-day"))
    wanted = next(a for a in run["steps"][0]["artifacts"] if a["name"] == "eplusout.err")
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/runs/{run['id']}/")
    with visitor.expect_download() as download:
        visitor.get_by_role("link", name="eplusout.err").click()

    content = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest() == wanted["sha256"]


def test_a_dropped_file_fails_with_the_engines_own_words(visitor: Page, stack: Stack) -> None:
    _open(visitor, "EnergyPlus: small office")
    failing = stack.sample("energyplus-small-office", "failing_sample")
    visitor.locator("input[type=file]").set_input_files(failing)
    expect(visitor.locator("[data-drop-title]")).to_have_text(failing.name)
    visitor.get_by_role("button", name="Run", exact=True).click()

    expect(visitor.locator(".verdict")).to_have_attribute("data-result", "FAIL", timeout=60_000)
    expect(visitor.locator(".findings").first).to_be_visible()
    shoot(visitor, "run-failed")


def test_a_file_of_the_wrong_type_is_refused_in_a_sentence(visitor: Page, tmp_path: Path) -> None:
    _open(visitor, "EnergyPlus: small office")
    wrong = tmp_path / "notes.txt"
    wrong.write_text("hello")
    visitor.locator("input[type=file]").set_input_files(wrong)
    visitor.get_by_role("button", name="Run", exact=True).click()

    expect(visitor.get_by_role("alert")).to_contain_text("notes.txt is not a file that")
    shoot(visitor, "wrong-type")


def test_an_api_key_is_shown_once(visitor: Page, stack: Stack) -> None:
    visitor.goto(f"{stack.web}/app/users/api-key/")
    visitor.get_by_label("What is it for?").fill("Laptop")
    visitor.get_by_role("button", name="Make a key").click()

    expect(visitor.locator(".new-key")).to_contain_text("vbk_1_")
    shoot(visitor, "api-key")
    visitor.goto(f"{stack.web}/app/users/api-key/")
    expect(visitor.locator(".new-key")).to_have_count(0)


def test_an_unknown_page_is_friendly(visitor: Page, stack: Stack) -> None:
    visitor.goto(f"{stack.web}/app/orgs/nowhere/workflows/")

    expect(visitor.get_by_role("heading", name="There is nothing here")).to_be_visible()
    shoot(visitor, "not-found")


def test_the_pages_fit_a_telephone(visitor: Page, stack: Stack) -> None:
    visitor.set_viewport_size({"width": 390, "height": 844})
    visitor.goto(f"{stack.web}/app/")

    width = visitor.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    shoot(visitor, "telephone")
