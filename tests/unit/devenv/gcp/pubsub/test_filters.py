"""The filter language of Pub/Sub's subscriptions."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.pubsub.filters import parse_filter

ORDER = {"kind": "order", "iana.org/language_tag": "en"}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("attributes:kind", True),
        ("attributes:missing", False),
        ('attributes:"iana.org/language_tag"', True),
        ('attributes.kind = "order"', True),
        ('attributes.kind != "order"', False),
        ('attributes.missing != "order"', True),
        ('attributes."iana.org/language_tag"="en"', True),
        ('hasPrefix(attributes.kind, "or")', True),
        ('hasPrefix(attributes.missing, "")', False),
        ("NOT attributes:kind", False),
        ("-attributes:missing", True),
        ('attributes:kind AND attributes.kind = "other"', False),
        ('attributes:missing OR attributes.kind = "order"', True),
        ('attributes:kind AND (attributes:missing OR attributes.kind = "order")', True),
        (r'attributes.kind = "\x6frder"', True),
    ],
)
def test_filter_decides_by_attributes(text: str, *, passes: bool) -> None:
    assert parse_filter(text)(ORDER) is passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attributes", "position 10"),
        ("attributes.a = b", "position 14"),
        ("data = 3", "position 0"),
        ("attributes:a and attributes:b", "position 12"),
        ("attributes:a AND attributes:b OR attributes:c", "parentheses"),
        ("(attributes:a", "position 13"),
        ('attributes.a = "' + "x" * 256 + '"', "256 bytes"),
        ("NOT " * 60 + "attributes:a", "syntax error"),
    ],
)
def test_wrong_filter_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_filter(text)


_PIECES = [
    "attributes",
    ":",
    ".",
    "=",
    "!=",
    '"',
    "a",
    "(",
    ")",
    "AND",
    "OR",
    "NOT",
    "-",
    " ",
    "\\x",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=20).map(" ".join))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_filter(text)({})
