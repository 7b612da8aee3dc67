"""Verdicts of XSD and RELAX NG about generated schemas and documents, beside a simple reference.

The reference matches a content model against the names of the children by derivatives: what is left
of a model after one child. XSD refuses ambiguous models, so its elements all differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import pytest
from hypothesis import given, settings, strategies as st

from validibot.engines import Document
from validibot.engines.xml_schema import check

NAMES = "abc"
BOUNDED = settings(max_examples=60, deadline=None)
XSD = "http://www.w3.org/2001/XMLSchema"


@dataclass(frozen=True)
class XmlModel:
    """A content model: an element (`name`), a group of models, or a repetition of one."""

    kind: str  # element, sequence, choice, repeat, nothing
    name: str = ""
    parts: tuple["XmlModel", ...] = ()
    least: int = 1
    most: int | None = 1


EMPTY, NOTHING = XmlModel("sequence"), XmlModel("nothing")


def groups(parts: st.SearchStrategy[XmlModel]) -> st.SearchStrategy[XmlModel]:
    kinds = st.sampled_from(["sequence", "choice"])
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    counts = st.sampled_from([(0, 1), (0, None), (1, None), (2, 2), (1, 3)])
    return st.builds(lambda kind, found: XmlModel(kind, parts=found), kinds, several) | st.builds(
        lambda part, count: XmlModel("repeat", parts=(part,), least=count[0], most=count[1]),
        parts,
        counts,
    )


MODELS = st.recursive(
    st.sampled_from(NAMES).map(lambda name: XmlModel("element", name)), groups, max_leaves=6
)
CHILDREN = st.lists(st.sampled_from(NAMES), max_size=7)


@lru_cache(maxsize=10_000)
def accepts_nothing_more(model: XmlModel) -> bool:
    """Return whether the model accepts no children."""
    match model.kind:
        case "sequence":
            return all(accepts_nothing_more(part) for part in model.parts)
        case "choice":
            return any(accepts_nothing_more(part) for part in model.parts)
        case "repeat":
            return model.least == 0 or accepts_nothing_more(model.parts[0])
    return False


@lru_cache(maxsize=10_000)
def after(model: XmlModel, child: str) -> XmlModel:
    """Return the model of what may follow `child`."""
    match model.kind:
        case "element":
            return EMPTY if model.name == child else NOTHING
        case "choice":
            return choice(after(part, child) for part in model.parts)
        case "sequence" if model.parts:
            first, rest = model.parts[0], XmlModel("sequence", parts=model.parts[1:])
            found = [sequence(after(first, child), rest)]
            if accepts_nothing_more(first):
                found.append(after(rest, child))
            return choice(found)
        case "repeat" if model.most is None or model.most:
            most = None if model.most is None else model.most - 1
            rest = XmlModel("repeat", parts=model.parts, least=max(model.least - 1, 0), most=most)
            return sequence(after(model.parts[0], child), rest)
    return NOTHING


def sequence(first: XmlModel, rest: XmlModel) -> XmlModel:
    return NOTHING if first is NOTHING else XmlModel("sequence", parts=(first, rest))


def choice(parts: object) -> XmlModel:
    found = tuple(dict.fromkeys(part for part in parts if part is not NOTHING))  # type: ignore[attr-defined]
    return XmlModel("choice", parts=found) if found else NOTHING


def is_valid(model: XmlModel, children: list[str]) -> bool:
    return accepts_nothing_more(reduce(after, children, model))


def in_xsd(model: XmlModel) -> str:
    """Return the model as a particle of XML Schema."""
    if model.kind == "element":
        return f'<xs:element name="{model.name}"/>'
    if model.kind == "repeat":
        most = "unbounded" if model.most is None else model.most
        inner = in_xsd(model.parts[0])
        return f'<xs:sequence minOccurs="{model.least}" maxOccurs="{most}">{inner}</xs:sequence>'
    return f"<xs:{model.kind}>{''.join(map(in_xsd, model.parts))}</xs:{model.kind}>"


def in_relax_ng(model: XmlModel) -> str:
    """Return the model as a pattern of RELAX NG, which has no numbers."""
    if model.kind == "element":
        return f'<element name="{model.name}"><empty/></element>'
    inner = "".join(map(in_relax_ng, model.parts))
    if model.kind == "repeat":
        needed = inner * model.least
        if model.most is None:
            return f"<group>{needed}<zeroOrMore>{inner}</zeroOrMore></group>"
        further = f"<optional>{inner}</optional>" * (model.most - model.least)
        return f"<group>{needed}{further}</group>"
    kind = "group" if model.kind == "sequence" else "choice"
    return f"<{kind}>{inner}</{kind}>"


def with_different_names(model: XmlModel, names: Iterator[str]) -> XmlModel:
    if model.kind == "element":
        return XmlModel("element", next(names))
    parts = tuple(with_different_names(part, names) for part in model.parts)
    return replace(model, parts=parts)


def verdict(schema: str, children: list[str]) -> bool:
    content = "<r>" + "".join(f"<{name}/>" for name in children) + "</r>"
    return not check(Document(content.encode(), "a.xml", ""), {"schema": schema}).problems


@BOUNDED
@given(MODELS.map(lambda model: with_different_names(model, iter("abcdef"))), CHILDREN)
def test_verdict_of_xsd_equals_reference(model: XmlModel, children: list[str]) -> None:
    schema = (
        f'<xs:schema xmlns:xs="{XSD}"><xs:element name="r"><xs:complexType><xs:sequence>'
        f"{in_xsd(model)}</xs:sequence></xs:complexType></xs:element></xs:schema>"
    )

    assert verdict(schema, children) == is_valid(model, children)


@settings(BOUNDED, max_examples=20)  # each with a choice is decided in a process of its own
@given(MODELS, CHILDREN)
def test_verdict_of_relax_ng_equals_reference(model: XmlModel, children: list[str]) -> None:
    schema = (
        '<element name="r" xmlns="http://relaxng.org/ns/structure/1.0">'
        f"{in_relax_ng(model)}</element>"
    )

    assert verdict(schema, children) == is_valid(model, children)


@pytest.mark.parametrize("children", ["", "ab", "abab", "abc"])
def test_reference_decides_as_an_expression_does(children: str) -> None:
    pair = XmlModel("sequence", parts=(XmlModel("element", "a"), XmlModel("element", "b")))

    assert is_valid(XmlModel("repeat", parts=(pair,), least=0, most=None), list(children)) == (
        children != "abc"
    )
