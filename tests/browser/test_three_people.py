"""Three people: an owner invites an author, who builds a workflow; an executor runs it; a visitor has a link."""

import re

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.browser.screens import check_page, mailed_link, verify_address
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")

PASSWORD = "correct-horse-7"
FILE = FilePayload(name="office.json", mimeType="application/json", buffer=b'{"name": "Office"}')
INPUTS = (
    '{"type": "object", "required": ["area"], "properties": {"area": {"type": "number",'
    ' "title": "Floor area", "description": "In m².", "minimum": 1},'
    ' "phase": {"type": "string", "title": "Phase", "enum": ["draft", "final"]}}}'
)


def _button(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def _joined(browser: Browser, owner: Page, stack: Stack, org: str, role: str) -> Page:
    """Invite a person for a role; return a page on which the person has accepted."""
    email = f"{role.lower()}.of.three@example.org"
    owner.goto(f"{org}/settings/members/")
    owner.get_by_label("Email address").fill(email)
    owner.get_by_label("Role", exact=True).select_option(label=role)
    _button(owner, "Send invitation")
    page = browser.new_page()
    page.goto(mailed_link(stack, email, r"http://\S+/invitations/\S+"))
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password (again)").fill(PASSWORD)
    _button(page, "Sign up")
    verify_address(page, stack, email, PASSWORD)
    _button(page, "Accept")
    expect(page.get_by_text("Welcome to Three people")).to_be_visible()
    return page


def _add_step(page: Page, workflow: str, validator: str, *, name: str) -> None:
    page.goto(f"{workflow}/validators/")
    page.get_by_role("link").filter(
        has=page.get_by_role("heading", name=validator, exact=True)
    ).click()
    page.get_by_label("Name").first.fill(name)


def _build(page: Page, org: str) -> str:
    """Make a workflow of three steps; return its address."""
    page.goto(f"{org}/new-workflow/")
    page.get_by_label("Name").fill("Office")
    page.get_by_label("Inputs of a run").fill(INPUTS)
    _button(page, "Create")
    workflow = page.url.removesuffix("/steps/")
    _add_step(page, workflow, "JSON Schema", name="Shape")
    page.get_by_label("JSON Schema", exact=False).first.fill(
        '{"type": "object", "required": ["name"]}'
    )
    _button(page, "Add a signal")
    page.locator("[name=signals-0-name]").fill("density")
    page.locator("[name=signals-0-expression]").fill("i.area / 10.0")
    _button(page, "Save")
    _add_step(page, workflow, "Assertions", name="Density")
    page.get_by_label("Message if the step passes").fill("{s.density} places fit.")
    _button(page, "Save")
    _add_step(page, workflow, "Assertions", name="Final check")
    page.get_by_label("Only when").last.fill("i.?phase.orValue('') == 'final'")
    check_page(page, "step-conditions")
    _button(page, "Save")
    return workflow


def _run(page: Page, *, phase: str) -> None:
    page.locator("input[type=file]").first.set_input_files(FILE)
    page.get_by_label("Floor area").fill("50")
    page.get_by_label("Phase").select_option(phase)
    _button(page, "Run")
    expect(page.locator(".verdict")).to_have_attribute("data-result", "PASS")


def test_workflow_is_built_run_and_shared(visitor: Page, stack: Stack, browser: Browser) -> None:
    visitor.goto(f"{stack.web}/app/orgs/")
    visitor.get_by_label("Name").fill("Three people")
    _button(visitor, "Create organisation")
    org = visitor.url[: visitor.url.index("/settings/")]
    author = _joined(browser, visitor, stack, org, "Author")
    workflow = _build(author, org)
    author.goto(f"{workflow}/")
    check_page(author, "workflow-inputs")
    _run(author, phase="draft")
    expect(author.locator(".badge.skipped")).to_have_count(1)
    author.locator("#step-2 > summary").click()
    expect(author.get_by_text("5 places fit.")).to_be_visible()
    check_page(author, "run-skipped-step")

    _edit(author, workflow)
    executor = _joined(browser, visitor, stack, org, "Executor")
    executor.goto(f"{workflow}/")
    expect(executor.get_by_text("version 2")).to_be_visible()
    expect(executor.get_by_role("link", name="Steps")).to_have_count(0)
    _run(executor, phase="final")
    expect(executor.get_by_text("The submitted file is kept until")).to_be_visible()
    refused = executor.goto(f"{workflow}/edit/")
    assert refused
    assert refused.status == 403

    _add_sample(author, workflow)
    _share(author, workflow, browser, stack)
    for page in (author, executor):
        page.close()


def _edit(author: Page, workflow: str) -> None:
    author.goto(f"{workflow}/edit/")
    author.get_by_label("Days for which submitted files are kept").fill("30")
    author.get_by_label("Description", exact=False).first.fill("Checks an office.")
    check_page(author, "edit-workflow-inputs")
    _button(author, "Save")
    expect(author.get_by_role("status").first).to_contain_text("saved as version 2")


def _add_sample(author: Page, workflow: str) -> None:
    author.goto(f"{workflow}/samples/")
    author.get_by_label("File", exact=False).first.set_input_files(FILE)
    author.get_by_label("Floor area").fill("80")
    _button(author, "Add sample")
    check_page(author, "samples")


def _share(author: Page, workflow: str, browser: Browser, stack: Stack) -> None:
    """Create a link, start a run with it as somebody without an account, and revoke it."""
    author.goto(f"{workflow}/sharing/")
    _button(author, "Create a badge")
    author.get_by_role("button", name="Copy the Markdown of the badge").wait_for()
    author.get_by_label("Name").fill("Suppliers")
    _button(author, "Create link")
    check_page(author, "sharing")
    link = author.locator("#link-text").inner_text()
    guest = browser.new_page()
    guest.goto(re.sub(r"^https?://[^/]+", stack.web, link))
    check_page(guest, "launch-link")
    guest.locator("input[type=file]").first.set_input_files(
        FilePayload(name="bad.json", mimeType="application/json", buffer=b"{}")
    )
    guest.get_by_label("Floor area").fill("50")
    _button(guest, "Run")
    expect(guest.locator(".verdict")).to_have_attribute("data-result", "FAIL")
    check_page(guest, "launched-run")
    author.goto(f"{workflow}/sharing/")
    _button(author, "Revoke Suppliers")
    gone = guest.reload()
    assert gone
    assert gone.status == 404
    guest.close()
