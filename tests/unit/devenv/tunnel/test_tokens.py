"""What is no ID token is refused before anybody is asked for certificates."""

import pytest

from devenv.tunnel.tokens import TokenRefused, verify
from tests.unit.devenv.tunnel.samples import URL


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b",
        "a.b.c.d",
        "a.b.c\r\nX: y",
        "é.b.c",
        "a b.c.d",
        "..",
        f"a.{'b' * 4096}.c",
    ],
)
def test_what_has_not_the_form_of_a_token_costs_nothing(token: str) -> None:
    with pytest.raises(TokenRefused, match="This is no ID token"):
        verify(token, URL)
