"""The console in a browser: every page at two widths, a log that follows, a trace from a run's page."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.browser.screens import check_page, shoot
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")

PAGES = (
    *("", "services/web", "traces", "journal", "tasks/runs", "jobs/validibot-validator-energyplus"),
    *(
        "pubsub",
        "logs",
        "run",
        "run/validibot-worker",
        "storage/validibot-local",
        "iam",
        "faults",
        "clock",
        "snapshots",
    ),
)


@pytest.fixture
def console(page: Page, stack: Stack) -> Iterator[str]:
    """Open the printed link; return the origin. A message of the browser about a policy fails."""
    refused: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            refused.append(message.text)

    page.on("console", note)
    link = stack.facts["urls"]["console"]
    page.goto(link)
    yield link.partition("/?token=")[0]
    assert refused == []


def test_console_pages_are_accessible_at_two_widths(page: Page, console: str) -> None:
    for path in PAGES:
        page.goto(f"{console}/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)
        check_page(page, f"console-{path.replace('/', '-') or 'stack'}")


def test_trace_of_a_run_is_one_click_away(visitor: Page, stack: Stack, console: str) -> None:
    run = stack.run("energyplus-design-day", stack.sample("energyplus-design-day"))
    visitor.goto(f"{stack.web}/app/orgs/{stack.facts['org']}/runs/{run['id']}/")
    shoot(visitor, "run-with-trace")
    visitor.get_by_role("link", name="Show the trace").click()

    spans = visitor.locator(".waterfall strong")
    for method in ("tasks.CloudTasks.CreateTask", "deliver", "run.Jobs.RunJob", "execution"):
        expect(spans.filter(has_text=re.compile(f"^{re.escape(method)}$")).first).to_be_visible()
    expect(spans.filter(has_text="run.invoke").first).to_be_visible()
    visitor.locator("summary", has_text="execution").first.click()
    expect(visitor.get_by_role("link", name="Execution with its log")).to_be_visible()
    shoot(visitor, "console-trace")


def test_log_follows_and_a_queue_is_paused_by_keyboard(
    page: Page, console: str, stack: Stack
) -> None:
    page.goto(f"{console}/services/gcp")
    stack.run("meter-readings-schema", stack.sample("meter-readings-schema"))
    expect(page.locator("#log")).to_contain_text("CreateTask")

    page.goto(f"{console}/tasks")
    page.get_by_role("button", name="Pause runs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("runs paused.")
    page.get_by_role("button", name="Resume runs").click()
    expect(page.get_by_role("status")).to_have_text("runs resumed.")
