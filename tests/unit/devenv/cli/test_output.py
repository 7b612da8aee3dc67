"""Results on stdout, everything else on stderr, colour only where it is wanted."""

from io import StringIO

from devenv.cli.output import Output, columns


def output(*, json: bool = False, colour: bool = False) -> Output:
    return Output(out=StringIO(), err=StringIO(), json=json, colour=colour)


def written(stream: object) -> str:
    assert isinstance(stream, StringIO)
    return stream.getvalue()


def test_results_are_apart_from_the_rest() -> None:
    ours = output()

    ours.result({"a": 1}, "a is 1")
    ours.fail("no", hint="make up")

    assert written(ours.out) == "a is 1\n"
    assert written(ours.err) == "  ✗ no\n    Next: make up\n"


def test_json_prints_the_data() -> None:
    ours = output(json=True)

    ours.result({"a": 1}, "a is 1")

    assert written(ours.out) == '{\n  "a": 1\n}\n'


def test_without_colour_there_is_no_escape() -> None:
    plain, coloured = output(), output(colour=True)

    assert "\x1b" not in plain.labelled("web", "hello", width=8)
    assert coloured.labelled("web", "hello", width=8).startswith("\x1b[38;5;")


def test_columns_are_aligned() -> None:
    assert columns([("a", "bc", ""), ("def", "g", "h")]) == "  a     bc\n  def   g    h"
