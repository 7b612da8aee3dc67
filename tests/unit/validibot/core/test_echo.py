"""Values of a caller in messages."""

import json

from validibot.core.echo import WrittenNumber, echo, shortened


def test_long_value_is_shortened_and_number_stays_as_written() -> None:
    huge = json.loads('{"a": [1e999, 1E+3]}', parse_float=WrittenNumber)

    assert echo("short.json") == "'short.json'"
    assert len(echo("x" * 5000)) < 80
    assert echo("x" * 5000).startswith("'xxx")
    assert (shortened("a.json"), len(shortened("x" * 5000))) == ("a.json", 79)
    assert echo(huge) == "{'a': [1e999, 1E+3]}"
    assert len(echo(WrittenNumber("9" * 5000))) < 80
