"""Names for content that came without one."""

import pytest

from validibot.submissions.content import HEAD_BYTES, default_filename


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'{"a": 1}', "submission.json"),
        (b"\xef\xbb\xbf\r\n [1]", "submission.json"),
        (b"<?xml version='1.0'?>", "submission.xml"),
        (b"PK\x03\x04\x14", "submission.fmu"),
        (b"%PDF-1.7", "submission.pdf"),
        (b"! a comment\n\n  VERSION ,\n 25.1;", "submission.idf"),
        (b"!-Generator IDFEditor", "submission.idf"),
        (b"hello", "submission.bin"),
        (b"", "submission.bin"),
        (b"\n" * HEAD_BYTES, "submission.bin"),
        (b" " * HEAD_BYTES, "submission.bin"),
    ],
)
def test_vague_type_is_replaced_by_content_type(head: bytes, name: str) -> None:
    assert default_filename("application/octet-stream", head) == name


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ("text/x-idf", "submission.idf"),
        ("application/yaml", "submission.yaml"),
        ("text/xml", "submission.xml"),
        ("application/vnd.fmi.fmu", "submission.fmu"),
    ],
)
def test_declared_type_names_file(declared: str, name: str) -> None:
    assert default_filename(declared, b"{}") == name


def test_plain_text_stays_text() -> None:
    assert default_filename("text/plain", b"hello") == "submission.txt"
