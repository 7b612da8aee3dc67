"""Authors in a browser: from an empty organisation to a green run, and a workflow from nothing."""

import json
import re

import pytest
from playwright.sync_api import FilePayload, Page, Position, expect

from tests.browser.screens import check_page
from tests.checkout import ROOT
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("browser")
SCHEMA = '{"type": "object", "required": ["name"]}'


def _empty_organisation(page: Page, stack: Stack, name: str) -> str:
    """Create an organisation; return its address."""
    page.goto(f"{stack.web}/app/orgs/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create organisation").click()
    page.wait_for_url(re.compile(r"/app/orgs/[\w-]+/"))
    return page.url[: page.url.index("/", page.url.index("/app/orgs/") + len("/app/orgs/"))]


def test_empty_organisation_has_a_green_run_after_three_clicks(visitor: Page, stack: Stack) -> None:
    org = _empty_organisation(visitor, stack, "Green")
    visitor.goto(f"{org}/workflows/")
    check_page(visitor, "workflows-empty")

    visitor.get_by_role("link", name="Use a template").click()
    visitor.get_by_role("button", name="Use the template Office model review").click()
    visitor.get_by_role("button", name="Use the sample").click()

    expect(visitor.locator(".verdict")).to_have_attribute("data-result", "PASS")
    visitor.goto(f"{org}/templates/")
    check_page(visitor, "templates")
    visitor.goto(f"{org}/workflows/office-model-review/steps/")
    check_page(visitor, "steps")
    visitor.goto(f"{org}/workflows/office-model-review/steps/2/")
    check_page(visitor, "step-energyplus")


def test_author_builds_a_workflow_and_tries_it(visitor: Page, stack: Stack) -> None:
    org = _empty_organisation(visitor, stack, "Persons")
    visitor.goto(f"{org}/new-workflow/")
    check_page(visitor, "new-workflow")
    visitor.get_by_label("Name").fill("Persons")
    visitor.get_by_role("button", name="Create").click()
    visitor.get_by_role("link", name="Add a step").click()
    check_page(visitor, "add-step")
    visitor.get_by_role("link").filter(
        has=visitor.get_by_role("heading", name="JSON Schema")
    ).click()
    visitor.get_by_label("JSON Schema", exact=False).first.fill(SCHEMA)
    visitor.get_by_role("button", name="Add an assertion").click()
    visitor.get_by_label("This must be true").fill("size(p.name) > 2")
    visitor.get_by_label("Message if it is not").fill("{p.name} is short.")
    _try(visitor, b'{"name": "Al"}')
    expect(visitor.locator("#trial")).to_contain_text("Al is short.")
    _try(visitor, b"{}")
    expect(visitor.locator("#trial")).to_contain_text("does not pass this step")
    check_page(visitor, "step-new")

    visitor.get_by_role("button", name="Save").click()
    expect(visitor.get_by_role("status").first).to_have_text("Saved.")
    visitor.get_by_label("This must be true").fill("size(p.name) >")
    visitor.get_by_role("button", name="Save").click()
    expect(visitor.locator(".field-error").first).to_be_visible()
    check_page(visitor, "step-wrong-expression")


def test_names_are_completed_by_keyboard(visitor: Page, stack: Stack) -> None:
    org = _empty_organisation(visitor, stack, "Completion")
    visitor.goto(f"{org}/new-workflow/")
    visitor.get_by_label("Name").fill("Persons")
    visitor.get_by_role("button", name="Create").click()
    visitor.get_by_role("link", name="Add a step").click()
    visitor.get_by_role("link").filter(
        has=visitor.get_by_role("heading", name="JSON Schema")
    ).click()
    visitor.get_by_role("button", name="Add an assertion").click()
    field = visitor.get_by_label("This must be true")

    field.press_sequentially("size(submission.size")
    options = visitor.locator("#completion").get_by_role("option")
    expect(options).to_have_count(1)
    expect(visitor.locator("[data-completion-status]")).to_contain_text("Names that fit: 1.")
    check_page(visitor, "step-completion")
    field.press("ArrowDown")
    expect(field).to_have_attribute("aria-activedescendant", "completion-0")
    field.press("Enter")

    expect(field).to_have_value("size(submission.size_bytes")
    expect(options).to_have_count(0)
    field.press("Control+Space")
    expect(options).not_to_have_count(0)
    field.press("Escape")
    expect(options).to_have_count(0)
    field.press("Enter")
    expect(field).to_have_value("size(submission.size_bytes\n")


def _try(page: Page, content: bytes) -> None:
    file = FilePayload(name="a.json", mimeType="application/json", buffer=content)
    page.get_by_label("File", exact=False).last.set_input_files(file)
    page.get_by_role("button", name="Try this step").click()


def test_steps_are_moved_by_dragging_and_by_keyboard(visitor: Page, stack: Stack) -> None:
    org = f"{stack.web}/app/orgs/{stack.facts['org']}"
    visitor.goto(f"{org}/workflows/office-model-review/steps/")
    first, last = visitor.locator("[data-sortable]").first, visitor.locator("[data-sortable]").last

    box = last.bounding_box()
    assert box
    below = Position(x=60, y=box["height"] - 4)
    first.drag_to(last, target_position=below)
    expect(visitor.get_by_role("heading", name="3. Model")).to_be_visible()
    visitor.get_by_role("button", name="Move Model up").focus()
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("heading", name="2. Model")).to_be_visible()
    visitor.get_by_role("button", name="Move Model up").click()

    expect(visitor.get_by_role("heading", name="1. Model")).to_be_visible()


def test_settings_versions_and_import_fit_every_screen(visitor: Page, stack: Stack) -> None:
    org = f"{stack.web}/app/orgs/{stack.facts['org']}"
    workflow = f"{org}/workflows/meter-readings-assertions"
    stack.run("meter-readings-assertions", stack.sample("meter-readings-assertions"))
    visitor.goto(f"{workflow}/edit/")
    visitor.get_by_role("button", name="Add a constant").click()
    check_page(visitor, "edit-workflow")
    visitor.get_by_label("Name").last.fill("least_kwh")
    visitor.get_by_label("Value").last.fill("1")
    visitor.get_by_role("button", name="Save").click()
    expect(visitor.get_by_role("status").first).to_contain_text("saved as version 2")
    visitor.goto(f"{workflow}/versions/")
    check_page(visitor, "versions")
    visitor.get_by_role("button", name="Compare").click()
    expect(visitor.locator(".diff .added").first).to_contain_text("least_kwh")
    check_page(visitor, "compare-versions")
    visitor.goto(f"{org}/import-workflow/")
    visitor.get_by_label("Or paste the text").fill("format: validibot.workflow.v1\nsteps: 3\n")
    visitor.get_by_role("button", name="Import").click()
    expect(visitor.get_by_role("alert")).to_contain_text("3 problems")
    check_page(visitor, "import-problems")
    visitor.goto(f"{org}/validators/")
    check_page(visitor, "validators")
    visitor.get_by_role("link", name="Schematron").click()
    expect(visitor.get_by_role("heading", name="Settings of a step")).to_be_visible()
    check_page(visitor, "validator")


def test_registered_validator_gives_a_green_run(visitor: Page, stack: Stack) -> None:
    org, example = f"{stack.web}/app/orgs/{stack.facts['org']}", ROOT / "examples/text_limits"
    visitor.goto(f"{org}/settings/validators/")
    visitor.get_by_label("Manifest").fill((example / "validator.toml").read_text())
    visitor.get_by_label("Image").fill("example/text-limits")
    visitor.get_by_role("button", name="Register").click()
    expect(visitor.get_by_text("by its digest").last).to_be_visible()
    check_page(visitor, "custom-validators")
    visitor.get_by_label("Image").fill("example/text-limits:1.0.0")
    visitor.get_by_label("Files of its samples").set_input_files(example / "samples/short.json")
    visitor.get_by_role("button", name="Register").click()
    expect(visitor.get_by_text("is registered.")).to_be_visible()
    stack.until(lambda: visitor.reload() and visitor.get_by_text("Ready", exact=True).count())
    page = visitor.url
    visitor.get_by_role("button", name="Run the sample A text with a forbidden word").click()
    expect(visitor.locator("[data-result=FAIL]")).to_be_visible()
    check_page(visitor, "custom-validator-sample")
    visitor.goto(page)
    expect(visitor.get_by_text("as it should", exact=True)).to_be_visible()
    check_page(visitor, "custom-validator")
    visitor.goto(f"{org}/validators/text-limits/")
    check_page(visitor, "custom-validator-in-catalogue")
    step = {"name": "Limits", "validator": "text-limits@1.0.0", "config": {"max_words": 10}}
    file = {"format": "validibot.workflow.v1", "slug": "limits", "name": "Limits", "steps": [step]}
    stack.api.put(
        "workflows/limits/", content=json.dumps(file), headers={"Content-Type": "application/yaml"}
    ).raise_for_status()

    run = stack.run("limits", example / "samples/short.json")

    assert (run["state"], run["result"]) == ("COMPLETED", "PASS"), run
    visitor.goto(f"{org}/workflows/limits/steps/1/")
    expect(visitor.get_by_label("Most words")).to_have_value("10")
    check_page(visitor, "step-custom")
    _check_secrets(visitor, org, (example / "validator.toml").read_text())


def _check_secrets(visitor: Page, org: str, manifest: str) -> None:
    """Register the next version of a validator, which has a secret."""
    text = manifest.replace('"1.0.0"', '"2.0.0"')
    visitor.goto(f"{org}/settings/validators/")
    visitor.get_by_label("Manifest").fill(f'{text}\n[secrets.API_KEY]\ntitle = "Any key"\n')
    visitor.get_by_label("Image").fill("example/text-limits:1.0.0")
    visitor.get_by_role("button", name="Register").click()
    expect(visitor.get_by_role("heading", name="Secrets")).to_be_visible()
    check_page(visitor, "custom-validator-secrets")
