"""Screenshots of docs/console.md: `python -m tests.browser.screenshots` beside a running stack.

Run a workflow before, so that the pages have something to show.
"""

import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "images"
SIZE = {"width": 1200, "height": 760}


def main() -> int:
    state = json.loads((ROOT / ".devenv" / "state.json").read_text())
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]
        page.goto(state["urls"]["console"])
        _shoot(page, "console-stack")
        _open(page, "Traces")
        page.get_by_role("rowheader").get_by_role("link").first.click()
        _shoot(page, "console-trace")
        _open(page, "Tasks")
        _shoot(page, "console-tasks")
        _open(page, "IAM")
        _shoot(page, "console-iam")
        browser.close()
    return 0


def _open(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()


def _shoot(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    sys.exit(main())
