"""The catalogues of translations: complete, valid and compiled."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

SOURCES = Path(__file__).parents[2] / "validibot"
CATALOGUES = sorted(SOURCES.glob("locale/*/LC_MESSAGES/django.po"))
_CALLS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
# Calls in what Django makes of a template for xgettext.
_CALL = re.compile(r"""\b(?:_|n?gettext)\(u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


def marked() -> Iterator[str]:
    """Yield the texts that templates and modules mark for translation, plurals by their singular."""
    for path in (*SOURCES.rglob("*.html"), *SOURCES.rglob("*.txt")):
        source = path.read_text(encoding="utf-8")
        if "{%" in source:
            yield from map(ast.literal_eval, _CALL.findall(templatize(source)))
    for path in SOURCES.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "gettext" in source:
            yield from _marked_in(source)


def _marked_in(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            text = node.args[0]
            if node.func.id in _CALLS and isinstance(text, ast.Constant):
                yield str(text.value)


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parents[1].name)


def translations(catalogue: Catalog) -> dict[tuple[str | None, str], tuple[str, ...]]:
    """Return the translations, one for each plural form, by context and the singular of the text."""
    found = {}
    for each in catalogue:
        forms = (each.string,) if isinstance(each.string, str) else tuple(each.string or ())
        if each.id and all(forms) and not each.fuzzy:
            text = each.id if isinstance(each.id, str) else each.id[0]
            found[each.context, text] = forms
    return found


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[1].name)
def test_catalogue_has_every_marked_text_and_is_compiled(path: Path) -> None:
    catalogue = read(path)
    known = {each.id if isinstance(each.id, str) else each.id[0] for each in catalogue if each.id}

    assert set(marked()) - known == set(), "Run `make messages`, then translate the new texts."
    faults = [f"{each.id}: {error}" for each in catalogue for error in each.check()]
    assert faults == []
    with path.with_suffix(".mo").open("rb") as file:
        compiled = translations(read_mo(file))
    # A plural without a translation is compiled as English.
    assert translations(catalogue).items() <= compiled.items(), (
        "Run `make messages`, which compiles the catalogues."
    )
