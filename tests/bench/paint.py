"""First paint of the pages of every day, in Chromium on a running stack.

`python -m tests.bench.paint` measures the stack of this checkout (`make up`).
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.checkout import ROOT

type Row = tuple[str, str, str]

_VISITS = 11
_PAGES = {
    "workflows": "workflows/",
    "a workflow": "workflows/energyplus-design-day/",
    "its steps": "workflows/energyplus-design-day/steps/",
    "runs": "runs/",
    "dashboard": "dashboard/",
}
# https://developer.mozilla.org/docs/Web/API/PerformancePaintTiming: milliseconds since the navigation.
_PAINT = """() => new Promise(resolve => new PerformanceObserver(list => {
    for (const each of list.getEntriesByName("first-contentful-paint")) resolve(each.startTime);
}).observe({type: "paint", buffered: true}))"""


def measure(status: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for each page; `status` is that of `devenv status --json`."""
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        web = status["urls"]["web"]
        page.goto(f"{web}/accounts/login/")
        page.locator("[name=login]").fill(status["login"]["email"])
        page.locator("[name=password]").fill(status["login"]["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url("**/app/**")
        for name, path in _PAGES.items():
            times = sorted(_visits(page, f"{web}/app/orgs/{status['org']}/{path}"))
            text = f"p50 {statistics.median(times):.0f} ms, largest {times[-1]:.0f} ms"
            yield f"first paint, {name}", text, "≤ 300 ms"
        browser.close()


def _visits(page: Page, url: str) -> Iterator[float]:
    page.goto(url)
    for _ in range(_VISITS):
        page.goto(url)
        yield float(page.evaluate(_PAINT))


def main() -> None:
    command = [sys.executable, "-m", "devenv", "status", "--json"]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    for row in measure(json.loads(told)):
        sys.stdout.write(" | ".join(("", *row, "")).strip() + "\n")


if __name__ == "__main__":
    main()
