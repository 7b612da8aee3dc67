"""The query language of Cloud Logging."""

import contextlib

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given, strategies as st

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.entry_view import (
    EntryView,
    LogEntry,
    possible_test,
    text_test,
    texts_in,
)
from devenv.gcp.logging.fields import FieldComparison, field_test
from devenv.gcp.logging.filters import parse_filter

ENTRY = EntryView(
    ParseDict(
        {
            "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
            "resource": {"type": "cloud_run_job", "labels": {"job_name": "Thumbs", "a.b": "c"}},
            "severity": "ERROR",
            "timestamp": "2026-03-01T12:00:00.000000500Z",
            "labels": {"run.googleapis.com/execution_name": "thumbs-1"},
            "httpRequest": {"status": 503, "responseSize": "2048", "latency": "1.5s"},
            "jsonPayload": {
                "message": "Could not resize",
                "user": {"name": "Ann", "tags": ["red", "blue"]},
                "size": 10,
                "ip": "10.1.2.3",
                "at": "2026-03-01T12:00:00Z",
                "code": "0042",
                "retry": True,
            },
        },
        LogEntry(),
    )
)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("  -- only a comment", True),
        ("severity>=ERROR", True),
        ("severity > error", False),
        ("severity=(WARNING OR ERROR)", True),
        ("severity=500", True),
        ('resource.type="cloud_run_job"', True),
        ("resource.type=cloud_run_job", True),
        ("resource.labels.job_name=thumbs", True),
        ('resource.labels."a.b"=c', True),
        ("resource.labels.a.b=c", True),
        ('labels."run.googleapis.com/execution_name"="thumbs-1"', True),
        ('log_id("run.googleapis.com/stdout")', True),
        ('logName="projects/p/logs/run.googleapis.com%2Fstdout"', True),
        ('log_name:"stdout"', True),
        ('timestamp>="2026-03-01"', True),
        ('timestamp>"2026-03-01T12:00:00.000000499Z"', True),
        ("timestamp<2026-03-01T13:00:00+01:00", False),
        ('timestamp<="2026-03-01T12:00:01.5+0000"', True),
        ("httpRequest.status>=500", True),
        ("http_request.response_size>999", True),
        ("httpRequest.latency>1s", True),
        ("jsonPayload.size<9", False),
        ("jsonPayload.size=10.0", True),
        ("jsonPayload.size>-1", True),
        ('jsonPayload.code="42"', False),
        ("jsonPayload.retry=true", True),
        ('jsonPayload.message:"RESIZE"', True),
        ('jsonPayload.message=~"^Could .* resize$"', True),
        ('jsonPayload.message=~"^could"', False),
        ('jsonPayload.message!~"^could"', True),
        ("jsonPayload.user.tags=blue", True),
        ("jsonPayload.user:name", True),
        ("jsonPayload.user.name:*", True),
        ("jsonPayload.missing:*", False),
        ("jsonPayload.missing=1", False),
        ("jsonPayload.missing!=1", True),
        ('textPayload:"x"', False),
        ("ann", True),
        ('"could not"', True),
        ("nobody", False),
        ("NOT nobody", True),
        ("-nobody", True),
        ("ann nobody", False),
        ("nobody OR ann", True),
        # OR binds closer than AND.
        ("nobody AND ann OR ann", False),
        ("(nobody AND ann) OR ann", True),
        ("severity>=ERROR\nresource.type=cloud_run_job -- both", True),
        ('jsonPayload.user.name=("Bob" OR "Ann") AND severity=ERROR', True),
        ("jsonPayload.user.tags:(red AND blue)", True),
        ("jsonPayload.user.tags:(red AND NOT blue)", False),
        ('SEARCH("resize COULD")', True),
        ('SEARCH("could resiz")', False),
        ('SEARCH("`could not` ann")', True),
        ('SEARCH("`not could`")', False),
        ('SEARCH(jsonPayload.message, "ann")', False),
        ('search(jsonPayload.user, "red")', True),
        ('NOT SEARCH("nobody") AND severity=ERROR', True),
        ("sample(jsonPayload.size, 1)", True),
        ("sample(jsonPayload.size, 0)", False),
        ("sample(jsonPayload.missing, 1)", False),
        ('ip_in_net(jsonPayload.ip, "10.1.2.0/24")', True),
        ('ip_in_net(jsonPayload.ip, "10.1.3.0/24")', False),
        ('ip_in_net(jsonPayload.message, "10.1.3.0/24")', False),
        ("cast(jsonPayload.code, INT64)=42", True),
        ("cast(jsonPayload.message, INT64)!=42", True),
        ("cast(jsonPayload.code, FLOAT64)>42.5", False),
        ("cast(jsonPayload.retry, STRING)=True", True),
        ('cast(jsonPayload.at, TIMESTAMP)>="2026-03-01"', True),
        ("cast(httpRequest.latency, DURATION)<=1.5s", True),
        ('resource.labels.job_name=~"^Th"', True),
        ('cast(jsonPayload.size, STRING)=~"^10"', True),
        ('cast(jsonPayload.user.name, STRING)=~"ann"', False),
        ('cast(jsonPayload.user.name, STRING):"AN"', True),
        ('cast(timestamp, STRING, TIMEZONE("America/New_York"))=~"^2026-03-01T07.*-05:00$"', True),
        ('cast(jsonPayload.message, STRING, TIMEZONE("UTC"))=~"."', False),
        ('cast(jsonPayload.at, TIMESTAMP, TIMEZONE("Asia/Tokyo"))="2026-03-01T12:00:00Z"', True),
        ('regexp_extract(jsonPayload.message, "not (\\\\w+)")=resize', True),
        ('regexp_extract(jsonPayload.message, "not (\\\\w+)")=("a" OR "RESIZE")', True),
        ('regexp_extract(jsonPayload.message, "Not (.+)"):*', False),
        ('CAST(REGEXP_EXTRACT(CAST(timestamp, STRING), "\\\\d+:(\\\\d+):"), INT64)<1', True),
        ('cast(regexp_extract(insertId, "(.)"), INT64)!=1', True),
        ("source(projects/p)", True),
        ('source("projects/other") OR source(folders/1) OR source(organizations/2)', False),
    ],
)
def test_entry_filter_decides_by_fields(text: str, *, passes: bool) -> None:
    assert parse_filter(text)(ENTRY) is passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("severity>=", "position 10, near the end"),
        ("severity>=)", "position 10, near ')'"),
        ("severity>=LOUD", "position 10: Unknown severity 'LOUD'"),
        ("colour=red", "position 0: Field not found: 'colour'"),
        ("ann AND (severity=ERROR", "near the end"),
        ("ann )", "position 4, near ')'"),
        ("ann\nOR", "line 2, position 6"),
        ("OR ann", "position 0"),
        ('timestamp>"yesterday"', "position 10: 'yesterday' is no time"),
        ('textPayload=~"("', "position 13: Invalid regular expression '('"),
        ('textPayload="open', "position 12"),
        ("(" * 60 + "a", "nested deeper"),
        ('SEARCH("--")', "position 0: SEARCH needs a word"),
        ("SEARCH(textPayload)", "position 18"),
        ("ann sample(insertId, 2)", "position 4: The fraction '2'"),
        ('ip_in_net(textPayload, "x")', "position 0: 'x' is no network"),
        ("cast(textPayload, DATE)>1", "position 0: Unknown type 'DATE'"),
        ("cast(textPayload, INT64)>x", "position 25: > 'x' is no comparison with a INT64"),
        ('cast(textPayload, INT64)=~"1"', "position 26: =~ '1' is no comparison with a INT64"),
        ('cast(textPayload, INT64, TIMEZONE("UTC"))=1', "position 0: TIMEZONE is for STRING"),
        ('cast(timestamp, STRING, TIMEZONE("../Mars"))=1', "position 0: Unknown time zone"),
        ("cast(timestamp, STRING, UTC)=1", "position 24"),
        ("cast(timestamp, STRING)", "the end"),
        ('regexp_extract(textPayload, "a")=1', "position 0: The regular expression 'a' must have"),
        ('regexp_extract(textPayload, "(a)(b)")=1', "must have one capture group"),
        ("cast(upper(textPayload), STRING)=1", "position 5"),
        ("source(hosts/1)", "position 0: 'hosts/1' is no resource"),
        ("upper(textPayload)=1", "position 0"),
        ("sample(colour, 1)", "position 0: Field not found: 'colour'"),
        ("a" * 20_001, "longer than 20000"),
    ],
)
def test_invalid_entry_filter_names_the_place(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_filter(text)
    assert message in refused.value.message


@given(
    st.lists(
        st.sampled_from(
            [
                "a.b",
                '"x"',
                "(",
                ")",
                ":",
                "cast",
                "regexp_extract",
                ",",
                "=",
                "=~",
                ">=",
                "-",
                "NOT",
                "AND",
                "OR",
                "severity",
                "timestamp",
                "1",
                "*",
            ]
        )
    )
)
def test_any_entry_filter_is_parsed_or_refused(words: list[str]) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_filter(" ".join(words))(ENTRY)


_TEXTS = st.text(alphabet="aKkßéÉ 12e\u017f.\0", max_size=6)
_KEYS = st.sampled_from(["a", "b", "a.b", "b.a", "a_b", "aB", "A", ""])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats(-1e9, 1e9) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS | _KEYS, inner, max_size=3),
    max_leaves=8,
)
_ENTRIES = st.fixed_dictionaries(
    {"severity": st.sampled_from(["DEFAULT", "INFO", "ERROR"])},
    optional={
        "insertId": _TEXTS,
        "trace": _TEXTS,
        "textPayload": _TEXTS,
        "labels": st.dictionaries(_TEXTS, _TEXTS, max_size=3),
        "resource": st.fixed_dictionaries(
            {"type": _TEXTS}, optional={"labels": st.just({"k": "v"})}
        ),
        "timestamp": st.builds(
            lambda second, nanos: Timestamp(seconds=second, nanos=nanos).ToJsonString(),
            st.integers(-(10**9), 10**10),
            st.sampled_from([0, 1, 1_000, 12_000_000, 500_000_000, 999_999_999]),
        ),
        "httpRequest": st.just({"status": 503, "latency": "1.5s", "cacheHit": True}),
        "operation": st.just({"id": "Ké", "first": True}),
    },
)


def _of_keys(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4)


@given(_ENTRIES, st.dictionaries(_TEXTS | _KEYS, _JSON, max_size=3), st.booleans(), _TEXTS)
def test_view_reads_an_entry_as_its_json(
    fields: dict[str, object], payload: dict[str, object], with_json: bool, wanted: str
) -> None:
    if with_json:
        fields = {**fields, "jsonPayload": payload}
        fields.pop("textPayload", None)
    value = ParseDict(fields, LogEntry()).SerializeToString()
    plain = MessageToDict(LogEntry.FromString(value))

    assert sorted(EntryView(value=value).texts()) == sorted(texts_in(plain))
    assert {key: EntryView(value=value).field(key) for key in plain} == plain
    folded = [text.casefold() for text in texts_in(plain)]
    for some in (wanted, *folded[:3], "error", "2026", "als", "503"):
        found = any(some.casefold() in text for text in folded)
        assert text_test(some)(EntryView(value=value)) is found
        assert possible_test(some.casefold())(EntryView(value=value)) >= found
    for key, text in plain.get("labels", {}).items():
        if key:
            same = field_test(["labels", key], FieldComparison("=", text.upper(), quoted=True))
            assert same(EntryView(value=value)) is (text.upper().casefold() == text.casefold())


def _values_at(value: object, names: list[str]) -> list[object]:
    """Return what the JSON of a payload has at a path: the rules, said once more."""
    if isinstance(value, list):
        return [found for each in value for found in _values_at(each, names)]
    if not names:
        return [value]
    if not isinstance(value, dict):
        return []
    camel = {"a_b": "aB"}.get(names[0], names[0])
    for key, below in ((names[0], names[1:]), (camel, names[1:]), (".".join(names), [])):
        if key in value:
            return _values_at(value[key], below)
    return []


@given(
    st.dictionaries(_KEYS, _JSON | st.recursive(_JSON, _of_keys, max_leaves=12), max_size=6),
    st.lists(_KEYS, min_size=1, max_size=3),
)
@example({"a": [{"b": 1}, [{"b": None}], {"aB": 2}], "a.b": 3}, ["a", "b"])
@example({"a": {"b": {"c": True}}, "a.b": 3}, ["a", "b"])
@example({"aB": [1, "x", False, None, {"a": 1.5}, []]}, ["a_b"])
@example({"a_b": 0, "aB": 1}, ["a_b"])
@example({"a.b": {"a": 1}}, ["a", "b"])
@example({"a": "text", "a.b": 3}, ["a", "b"])
@example({"a": {"b": 1}}, ["a", "\ud800"])
def test_path_below_a_payload_finds_what_its_json_has(
    payload: dict[str, object], names: list[str]
) -> None:
    value = ParseDict({"jsonPayload": payload}, LogEntry()).SerializeToString()
    plain = MessageToDict(LogEntry.FromString(value))
    wanted = repr(_values_at(plain["jsonPayload"], names))

    assert repr(list(EntryView(value=value).values(["jsonPayload", *names]))) == wanted
    view = EntryView(value=value)
    assert view.fields == plain
    assert repr(list(view.values(["jsonPayload", *names]))) == wanted
