"""Unit tests of references in texts of devenv.toml."""

import shlex

import pytest

from devenv.gcp.references import References
from devenv.gcp.tables import ConfigError

REFERENCES = References({"postgres.url": "postgres://db", "later": lambda: "it's", "a.b[0].c": "x"})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("{postgres.url}/1", "postgres://db/1"),
        ("{later} {a.b[0].c}", "it's x"),
        ("{{postgres.url}}", "{postgres.url}"),
        ('{"json": {"a": 1}}', '{"json": {"a": 1}}'),
        ("${HOME} {} {1} {A}", "${HOME} {} {1} {A}"),
    ],
)
def test_references_are_replaced_and_other_braces_kept(text: str, expanded: str) -> None:
    assert REFERENCES.expand(text) == expanded


def test_values_are_quoted_but_not_the_text_around_them() -> None:
    assert REFERENCES.expand("echo {later}", quote=shlex.quote) == "echo 'it'\"'\"'s'"


def test_unknown_reference_names_key_near_match_and_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        REFERENCES.require("{postgres.urls}", ("services", "web", "env", "DB"))

    assert str(caught.value) == (
        "services.web.env.DB has the unknown reference {postgres.urls}. "
        "Did you mean {postgres.url}? Known are {a.b[0].c}, {later}, {postgres.url}."
    )
