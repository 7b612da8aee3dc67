"""Unit tests of ID tokens: a malformed one is refused without fetching certificates."""

import pytest

from devenv.tunnel.gate import GateTokenRefused, verify
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
def test_malformed_token_is_refused_without_request(token: str) -> None:
    with pytest.raises(GateTokenRefused, match="Invalid ID token"):
        verify(token, URL)
