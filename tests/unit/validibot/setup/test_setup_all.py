"""`manage.py setup_all`."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command

from validators.sdk.manifest import ManifestInvalid
from validibot.accounts import api_keys
from validibot.accounts.models import Organisation, User
from validibot.setup.demo import make_workflow
from validibot.setup.management.commands import setup_all as command
from validibot.workflows.exporting import export_text
from validibot.workflows.gallery import all_templates, usable_templates
from validibot.workflows.models import Assertion, Step, Validator, WeatherFile, Workflow
from validibot.workflows.versions import freeze

KEY = f"vbk_1_{'a' * 32}_{'b' * 64}"

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo(settings: Any, tmp_path: Path) -> Any:
    settings.DEMO_EMAIL = "Demo@Example.com"
    settings.DEMO_PASSWORD = "correct horse"
    settings.DEMO_API_KEY = KEY
    settings.SEED_FILE = str(tmp_path / "state/seed.json")
    settings.DATA_ROOT = (tmp_path / "data").as_uri()
    return settings


def setup_all() -> str:
    output = StringIO()
    call_command("setup_all", stdout=output)
    return output.getvalue()


def test_setup_without_demo_creates_only_validators() -> None:
    setup_all()

    slugs = set(Validator.objects.values_list("slug", flat=True))
    assert slugs >= {"assertions", "json-schema", "xml-schema", "energyplus", "fmu"}
    assert not User.objects.exists()
    assert not Workflow.objects.exists()


def test_setup_gives_every_user_a_workspace() -> None:
    user = User.objects.create_user("ann@example.com")
    output = StringIO()

    call_command("setup_all", json=True, stdout=output)

    done = json.loads(output.getvalue())
    assert (done["workspaces"], done["validators"]["created"]) == (1, Validator.objects.count())

    assert Organisation.objects.get(personal_owner=user).slug == "ann"


def test_demo_user_has_all_rights(demo: Any) -> None:
    setup_all()

    user = User.objects.get(email="demo@example.com")
    assert user.is_superuser
    assert user.is_staff
    assert user.check_password("correct horse")
    assert EmailAddress.objects.get(user=user).verified
    caller = api_keys.authenticate(KEY)
    assert caller
    assert caller.user == user
    assert user.memberships.get(organisation__slug="demo").role == "owner"
    assert Organisation.objects.get(personal_owner=user).slug == "demo-2"


def test_demo_workflows_have_passing_and_failing_sample(demo: Any) -> None:
    setup_all()

    demo_organisation = Organisation.objects.get(slug="demo")
    assert demo_organisation.workflows.count() == len(usable_templates(demo_organisation))
    for workflow in Workflow.objects.all():
        assert [sample.passes for sample in workflow.samples.all()] == [True, False]
        assert workflow.steps.exists()


def test_simulations_of_demo_use_weather_of_catalogue(demo: Any) -> None:
    setup_all()

    names = Step.objects.filter(validator__slug="energyplus").values_list("weather", flat=True)
    assert list(names) == [WeatherFile.objects.get().name] * 3


def test_missing_weather_is_reported(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(reference: str) -> Path:
        raise ManifestInvalid(reference)

    monkeypatch.setattr(command, "resolve_resource", missing)

    output = setup_all()

    assert "Weather is not loaded: " in output
    assert "energyplus-design-day: weather USA_CO_Golden" in output
    assert Workflow.objects.count() == len(usable_templates(Organisation.objects.get(slug="demo")))
    assert not Step.objects.exclude(weather="").exists()


def test_second_setup_changes_nothing(demo: Any) -> None:
    setup_all()
    models = (User, Organisation, Validator, Workflow, WeatherFile)
    before = [set(model.objects.values_list("pk", flat=True)) for model in models]
    texts = [export_text(workflow) for workflow in Workflow.objects.order_by("pk")]
    seed = Path(demo.SEED_FILE).read_text()

    setup_all()

    assert [set(model.objects.values_list("pk", flat=True)) for model in models] == before
    assert [export_text(workflow) for workflow in Workflow.objects.order_by("pk")] == texts
    assert Path(demo.SEED_FILE).read_text() == seed


def test_second_setup_restores_changed_rows(demo: Any) -> None:
    setup_all()
    Workflow.objects.update(name="other", is_active=False)
    step = Step.objects.filter(assertions__isnull=False).first()
    assert step
    Assertion.objects.create(step=step, order=99, expression="false")
    demo.DEMO_PASSWORD = "another horse"

    setup_all()

    assert not Workflow.objects.filter(name="other").exists()
    assert not Assertion.objects.filter(order=99).exists()
    assert User.objects.get().check_password("another horse")


def test_seed_file_names_existing_samples(demo: Any) -> None:
    setup_all()

    seed = json.loads(Path(demo.SEED_FILE).read_text())
    assert seed["org"] == "demo"
    for workflow in seed["workflows"]:
        assert workflow["slug"]
        assert workflow["name"]
        assert Path(workflow["sample"]).is_file()
        assert Path(workflow["failing_sample"]).is_file()


def test_demo_without_password_is_refused(demo: Any) -> None:
    demo.DEMO_PASSWORD = ""

    with pytest.raises(CommandError, match="DEMO_PASSWORD"):
        setup_all()


def test_malformed_demo_api_key_is_refused(demo: Any) -> None:
    demo.DEMO_API_KEY = "secret"

    with pytest.raises(CommandError, match="Invalid DEMO_API_KEY"):
        setup_all()


def test_changed_template_becomes_next_version_after_run(demo: Any) -> None:
    setup_all()
    workflow = Workflow.objects.get(slug="meter-readings-schema")
    freeze(workflow)
    setup_all()
    assert Workflow.objects.filter(slug=workflow.slug).count() == 1

    template = next(each for each in all_templates() if each.slug == workflow.slug)
    file = template.read.file.model_copy(update={"success_message": "Other."})
    changed = replace(template, read=replace(template.read, file=file))
    assert workflow.project
    assert workflow.author
    made = make_workflow(changed, project=workflow.project, author=workflow.author, say=print)

    assert (made.version, made.success_message) == (2, "Other.")
    assert made.steps.count() == workflow.steps.count()
    assert made.samples.count() == 2
    assert Workflow.objects.get(pk=workflow.pk).success_message != "Other."
