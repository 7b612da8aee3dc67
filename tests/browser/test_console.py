"""The console and the mail page in a browser: widths, keyboard, what follows, a trace from a run."""

import re
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect
from starlette.routing import Match, Route

from devenv.console import resource_pages
from devenv.console.app import ConsoleConfig, build
from devenv.console.cloud import LOGGING, PUBSUB, TASKS, CloudClient
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


def test_following_keeps_what_a_person_does_on_every_page(
    page: Page, console: str, stack: Stack
) -> None:
    """Change each page while something is typed, focused, selected, opened and scrolled there."""
    _add_records(stack)
    page.add_init_script(path=Path(__file__).with_name("following.js"))
    page.clock.install()
    page.set_viewport_size({"width": 1200, "height": 500})
    page.goto(console)
    paths, routes = ["/tasks/followed", *_links(page, "nav")], _routes()
    seen: dict[str, str] = {}
    lost = []
    for path in paths:  # grows by the links of each page
        route = _route_of(routes, path)
        if route in seen or route in _NO_PAGES:
            continue
        seen[route] = path
        page.goto(f"{console}{path}")
        paths += _links(page, "main")
        if route in _FIXED_PAGES:
            continue
        for step in ("act", "read"):
            before, after = _followed(page, step)
            lost += [
                f"{path}: {step}: {name}: {before[name]} became {after[name]}"
                for name in before
                if before[name]
                != pytest.approx(after[name], abs=1.5)  # scrolling is by whole pixels
            ]
    assert "\n".join(lost) == ""
    assert {one.path for one in routes} - {*seen, *_NO_PAGES, *_FIXED_PAGES, *_KINDS} == set()


_FIXED_PAGES = ("/journal/{id:int}", "/jobs/{job}/executions/{execution}")  # of what has ended
# A resource is shown by one template, whatever its kind.
_KINDS = tuple(f"{one.path}/{{kind}}" for one in resource_pages.PAGES)
_NO_PAGES = (
    *("", "/health", "/logs/new", "/services/{name}/state", "/services/{name}/stream"),
    *(f"/jobs/{{job}}/executions/{{execution}}/{part}" for part in ("state", "stream")),
    *(f"/storage/{{bucket}}/{part}" for part in ("download", "image")),
    "/secrets/{secret}/versions/{version}/show",
)


def _add_records(stack: Stack) -> None:
    """Make what the stack has not of itself: a waiting task, messages, entries of a log, a fault."""
    cloud = CloudClient(stack.facts["urls"]["gcp"], stack.root / ".devenv/gcp")
    project = f"projects/{cloud.control('project')['project']}"
    queue = f"{cloud.location()}/queues/followed"
    topic, subscription = f"{project}/topics/followed", f"{project}/subscriptions/followed"
    task = {"httpRequest": {"url": "http://127.0.0.1:9/", "body": "e30="}}
    message = {"data": "e30=", "attributes": {"colour": "green"}}
    cloud.api(TASKS, f"/v2/{cloud.location()}/queues", verb="POST", body={"name": queue})
    cloud.api(TASKS, f"/v2/{queue}:pause", verb="POST", body={})
    cloud.api(PUBSUB, f"/v1/{topic}", verb="PUT", body={})
    cloud.api(PUBSUB, f"/v1/{subscription}", verb="PUT", body={"topic": topic})
    for _ in range(3):
        cloud.api(TASKS, f"/v2/{queue}/tasks", verb="POST", body={"task": task})
        cloud.api(PUBSUB, f"/v1/{topic}:publish", verb="POST", body={"messages": [message] * 3})
        entry = {"logName": f"{project}/logs/followed", "resource": {"type": "global"}}
        entries = {"entries": [entry | {"textPayload": "An entry"}] * 3}
        cloud.api(LOGGING, "/v2/entries:write", verb="POST", body=entries)
    cloud.control("faults", verb="POST", body={"method": "secretmanager.*", "status": 503})
    path = "/upload/storage/v1/b/validibot-local/o"
    cloud.upload(path, BytesIO(b"{}"), "text/plain", uploadType="media", name="followed.txt")
    cloud.close()
    _send_mail(stack, "Followed")
    stack.run("meter-readings-schema", stack.sample("meter-readings-schema"))


def _routes() -> list[Route]:
    config = ConsoleConfig(
        state=Path(), token="", cloud="http://localhost", mail="http://localhost"
    )
    return [
        one
        for one in build(config).routes
        if isinstance(one, Route) and "GET" in (one.methods or ())
    ]


def _route_of(routes: list[Route], path: str) -> str:
    scope = {"type": "http", "method": "GET", "path": path.partition("?")[0]}
    return next((one.path for one in routes if one.matches(scope)[0] is Match.FULL), "")


def _links(page: Page, part: str) -> list[str]:
    read = "links => links.map(link => link.getAttribute('href'))"
    found: list[str] = page.locator(part).locator("a[href^='/']").evaluate_all(read)
    return found


def _followed(page: Page, step: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a person has before and after a page has changed."""
    page.evaluate(f"person.{step}()")
    before = page.evaluate("person.has()")
    page.evaluate("person.expect()")
    page.clock.fast_forward(6_000)
    page.evaluate("person.swapped")
    return before, page.evaluate("person.has()")


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
    page.set_viewport_size({"width": 360, "height": 800})
    expect(page.get_by_role("main")).to_be_in_viewport()
    expect(page.get_by_role("navigation", name="Messages")).to_be_hidden()
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
