"""Screenshots of the README, docs/tour.md and docs/console.md: `python -m tests.browser.screenshots`.

A stack must run. The walk is the one that docs/tour.md describes.
"""

import json
import shutil
import subprocess
import sys

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests.checkout import ROOT

FOLDER = ROOT / "docs" / "images"
SIZE: ViewportSize = {"width": 1200, "height": 760}
PHONE: ViewportSize = {"width": 360, "height": 640}
COLOURS = 256  # of a picture: half of the bytes, and nothing that an eye sees
_DEVENV = (sys.executable, "-m", "devenv")


def main() -> int:
    status = [*_DEVENV, "status", "--json"]
    facts = json.loads(subprocess.run(status, check=True, capture_output=True, cwd=ROOT).stdout)
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-headless-shell"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{facts['urls']['web']}/accounts/login/")
        page.get_by_label("Email").fill(facts["login"]["email"])
        page.get_by_label("Password", exact=True).fill(facts["login"]["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        _walk_product(page)
        page.goto(facts["urls"]["console"])
        _walk_console(page)
        browser.close()
    return 0


def _walk_product(page: Page) -> None:
    page.wait_for_url("**/workflows/")
    page.reload()  # without the greeting
    _shoot(page, "workflows")
    page.get_by_role("link", name="Office model review").first.click()
    workflow = page.url
    _shoot(page, "workflow")
    page.get_by_role("button", name="Use the sample").first.click()
    expect(page.locator(".verdict")).to_have_attribute("data-result", "PASS", timeout=90_000)
    page.goto(workflow)
    fault = [*_DEVENV, "fault", "add", "run.Jobs.RunJob", "--status", "503"]
    subprocess.run(fault, check=True, cwd=ROOT)  # the trace shows where it struck
    _launch(page, "office-model-review/fail.epJSON")
    _shoot(page, "run-failed")
    page.goto(workflow)
    page.get_by_role("link", name="Steps", exact=True).click()
    page.get_by_role("link", name="Targets").first.click()
    _shoot(page, "step")
    page.get_by_role("link", name="Workflows", exact=True).click()
    page.get_by_role("link", name="JSON Schema: meter readings").first.click()
    _launch(page, "meter-readings-schema/fail.json")
    page.get_by_role("link", name="beside the document").first.click()
    page.get_by_role("link", name="line").last.click()
    _shoot(page, "findings")


def _launch(page: Page, sample: str) -> None:
    """Submit a sample that fails, and wait for the end of its run."""
    file = ROOT / "validibot/workflows/gallery" / sample
    page.locator("input[name=file]").set_input_files(file)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".verdict")).to_have_attribute("data-result", "FAIL", timeout=90_000)


def _walk_console(page: Page) -> None:
    _shoot(page, "console-stack")
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    _shoot(page, "console-phone")
    page.set_viewport_size(SIZE)
    page.emulate_media(color_scheme="light")
    _open(page, "Traces")
    page.locator("tbody tr", has_text="1 fault").first.get_by_role("link").click()
    _shoot(page, "console-trace")
    _open(page, "Tasks")
    _shoot(page, "console-tasks")
    _open(page, "IAM")
    _shoot(page, "console-iam")


def _open(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()


def _shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(500)  # a page that follows a run never stops asking
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(
            path, optimize=True
        )


if __name__ == "__main__":
    sys.exit(main())
