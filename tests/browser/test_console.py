"""The console and the mail page in a browser: widths, keyboard, what follows, a trace from a run."""

import re
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from urllib.parse import urlsplit

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
        "accounts",
        "networks/networks?name=default",
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
        check_page(page, f"console-{re.sub('[^a-z]', '-', path) or 'stack'}")


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
    expect(page.get_by_role("button", name="Resume runs")).to_be_focused()
    page.get_by_role("button", name="Resume runs").click()
    expect(page.get_by_role("status")).to_have_text("runs resumed.")


def test_form_keeps_what_was_typed_and_the_focus(page: Page, console: str) -> None:
    page.goto(f"{console}/faults")
    page.get_by_label("Method").fill("no.such.method")
    page.get_by_label("Effect").select_option("reset")
    add = page.get_by_role("button", name="Add fault")
    add.click()
    expect(page.get_by_role("alert")).to_contain_text("matches nothing")

    expect(page.get_by_label("Method")).to_have_value("no.such.method")
    expect(page.get_by_label("Effect")).to_have_value("reset")
    expect(add).to_be_focused()


def test_page_keeps_its_rows_while_nothing_answers(page: Page, console: str) -> None:
    page.goto(f"{console}/schedules")
    rows, offline = page.locator("tbody tr"), page.get_by_text("No answer. This page shows")
    before = rows.count()
    page.route("**/schedules", lambda route: route.fulfill(status=503, body="<p>down</p>"))
    expect(offline).to_be_visible()
    assert rows.count() == before > 0
    page.unroute("**/schedules")

    expect(offline).to_be_hidden()
    assert rows.count() == before


def test_menu_of_a_narrow_screen_opens_and_closes_by_keyboard(page: Page, console: str) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{console}/journal")
    menu = page.get_by_role("button", name="Menu")
    entries = page.get_by_role("navigation", name="Main")
    expect(entries).to_be_hidden()
    menu.press("Enter")
    expect(entries.get_by_role("link", name="Journal")).to_have_attribute("aria-current", "page")
    page.keyboard.press("Escape")

    expect(entries).to_be_hidden()
    expect(menu).to_be_focused()


def test_mail_is_read_and_deleted_by_keyboard(page: Page, stack: Stack) -> None:
    subject = "<b>Bericht</b> über Prüfläufe"
    _send_mail(stack, subject)
    page.goto(stack.facts["urls"]["mail"])
    link = page.get_by_role("link", name=subject).first
    check_page(page, "mail-list")
    link.focus()
    _send_mail(stack, "Another")
    expect(page.get_by_role("link", name="Another").first).to_be_visible()
    expect(link).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text(subject)
    expect(page.frame_locator("iframe").get_by_text("It passed.")).to_be_visible()
    check_page(page, "mail-message")
    page.keyboard.press("Escape")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    expect(page.get_by_role("link", name=subject)).to_have_count(0)


def _send_mail(stack: Stack, subject: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "bot@example.org", "ann@example.org", subject
    mail.set_content("It passed.")
    mail.add_alternative("<p>It passed.</p><script>alert(1)</script>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Prüfung.pdf")
    server = urlsplit(stack.facts["urls"]["smtp"])
    with smtplib.SMTP(server.hostname or "", server.port or 0) as client:
        client.send_message(mail)
