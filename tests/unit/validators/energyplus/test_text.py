"""Encodings and line ends of submitted models."""

import pytest

from validators.energyplus.text import ModelUnreadable, read_text


def test_utf_8_is_read_without_warning() -> None:
    assert read_text("\ufeffZone,Büro;\r\n".encode()) == ("Zone,Büro;\r\n", [])


@pytest.mark.parametrize(
    ("content", "text", "name"),
    [
        (b"! x\nZone,B\xfcro;", "! x\nZone,Büro;", "Windows-1252"),
        (b"! x\nZone,\x80;", "! x\nZone,€;", "Windows-1252"),
        (b"! x\nZone,\x81;", "! x\nZone,\x81;", "Latin-1"),
    ],
)
def test_other_encoding_is_converted_with_warning(content: bytes, text: str, name: str) -> None:
    read, (warning,) = read_text(content)

    assert read == text
    assert (warning.severity, warning.code) == ("WARNING", "ENERGYPLUS_NOT_UTF8")
    assert name in warning.text
    assert warning.location
    assert warning.location.line == 2


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_name(codec: str) -> None:
    with pytest.raises(ModelUnreadable, match="UTF-16") as caught:
        read_text("Version,25.2;".encode(codec))

    assert caught.value.code == "ENERGYPLUS_UTF16"


def test_cr_alone_ends_lines_with_warning() -> None:
    text, (warning,) = read_text(b"! x\rZone,A;\r")

    assert text == "! x\nZone,A;\n"
    assert warning.code == "ENERGYPLUS_LINE_ENDS"


@pytest.mark.parametrize("content", [bytes(range(256)) * 40, b"Version,25.2;\x00", b"PK\x03\x04"])
def test_binary_content_is_refused(content: bytes) -> None:
    with pytest.raises(ModelUnreadable) as caught:
        read_text(content)

    assert caught.value.code == "ENERGYPLUS_NOT_TEXT"


def test_model_beyond_size_limit_is_refused() -> None:
    with pytest.raises(ModelUnreadable, match="allowed"):
        read_text(b" " * ((64 << 20) + 1))
