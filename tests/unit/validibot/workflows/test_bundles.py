"""Zip files that are imported as workflows, and are not what they say."""

import io
import tracemalloc
import zipfile

import pytest

from tests.factories import OrganisationFactory
from validibot.accounts.models import Organisation
from validibot.workflows.document import ImportInvalid
from validibot.workflows.importing import import_workflow

pytestmark = pytest.mark.django_db

HEADER = b"format: validibot.workflow.v1\nslug: check\nname: Check\n"


@pytest.fixture
def organisation() -> Organisation:
    return OrganisationFactory.create()


def problem(content: bytes, organisation: Organisation) -> str:
    with pytest.raises(ImportInvalid) as caught:
        import_workflow(content, organisation=organisation, author=None)
    return str(caught.value.problems[0])


def _zip(method: int = zipfile.ZIP_DEFLATED, /, **files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 and nothing else", "The zip file cannot be read"),
        (_zip(other=b""), "has no workflow.yaml at its top"),
        (_zip(**{f"f{number}": b"" for number in range(201)}), "has 201 files; at most 200"),
        (_zip(workflow_yaml=HEADER)[:-30], "The zip file cannot be read"),
        (_zip(zipfile.ZIP_BZIP2, workflow_yaml=b"a"), "only deflate is read"),
        (_zip(zipfile.ZIP_LZMA, workflow_yaml=b"a"), "only deflate is read"),
    ],
    ids=["no zip", "no workflow", "many files", "cut", "bzip2", "lzma"],
)
def test_bad_bundle_is_refused(organisation: Organisation, content: bytes, words: str) -> None:
    assert words in problem(content, organisation)


def test_bundle_that_unpacks_to_too_much_is_refused(organisation: Organisation) -> None:
    content = _zip(workflow_yaml=b"", bomb=b"0" * 2**27)

    assert "bytes; at most 100,663,296 are read" in problem(content, organisation)


def test_bundle_with_wrong_size_is_not_unpacked_beyond_it(organisation: Organisation) -> None:
    content = bytearray(_zip(workflow_yaml=b"0" * 2**26))
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (1).to_bytes(4, "little")

    tracemalloc.start()
    found = problem(bytes(content), organisation)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "Bad CRC-32" in found
    assert peak < 2**24
