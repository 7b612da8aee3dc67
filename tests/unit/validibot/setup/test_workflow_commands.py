"""Commands that import and export workflows."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.factories import OrganisationFactory, ValidatorFactory
from validibot.accounts.models import Organisation
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db

FILE = "format: validibot.workflow.v1\nslug: rooms\nname: Rooms\n"


@pytest.fixture
def acme() -> Organisation:
    ValidatorFactory.create(slug="json-schema")
    return OrganisationFactory.create(slug="acme")


@pytest.mark.parametrize("name", ["copy.yaml", "copy.zip"])
def test_exported_file_is_imported_again(acme: Organisation, tmp_path: Path, name: str) -> None:
    source, copy = tmp_path / "rooms.yaml", tmp_path / name
    source.write_text(FILE)

    call_command("import_workflow", "acme", source)
    call_command("export_workflow", "acme", "rooms", output=copy)
    Workflow.objects.all().delete()
    call_command("import_workflow", "acme", copy)

    assert Workflow.objects.get().name == "Rooms"


def test_problem_of_one_file_keeps_all_unwritten(
    acme: Organisation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(FILE)
    bad.write_text(FILE.replace("rooms", "halls") + "steps: 1\n")

    with pytest.raises(CommandError, match=r"bad.yaml: Line 4, steps: "):
        call_command("import_workflow", "acme", good, bad)
    call_command("import_workflow", "acme", good, check=True)

    assert not Workflow.objects.exists()
    assert "1 checked" in capsys.readouterr().out


def test_unknown_names_are_refused(acme: Organisation, tmp_path: Path) -> None:
    source = tmp_path / "rooms.yaml"
    source.write_text(FILE)

    for arguments, message in (
        (["import_workflow", "nobody", source], "no organisation 'nobody'"),
        (["import_workflow", "acme", source, "--author", "a@b.org"], "no member 'a@b.org'"),
        (["import_workflow", "acme", tmp_path / "none.yaml"], "cannot be read"),
        (["export_workflow", "acme", "halls"], "no workflow 'halls'"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command(*arguments)
