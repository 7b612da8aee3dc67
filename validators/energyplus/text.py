"""Text of a submitted model: its encoding and the ends of its lines."""

import re

from validibot_shared.validations.envelopes import MessageLocation, Severity, ValidationMessage

SIZE_LIMIT = 64 << 20
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SAMPLE = 1000


class ModelUnreadable(Exception):
    """Content that is not a building model."""

    def __init__(self, text: str, *, code: str, line: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.line = line


def read_text(content: bytes) -> tuple[str, list[ValidationMessage]]:
    """Return the text as EnergyPlus reads it, and a warning for each conversion.

    Raises ModelUnreadable.
    """
    if len(content) > SIZE_LIMIT:
        raise ModelUnreadable(
            f"The model has {len(content)} bytes; {SIZE_LIMIT} are allowed.",
            code="ENERGYPLUS_MODEL_TOO_LARGE",
        )
    if _is_utf_16(content):
        raise ModelUnreadable(
            "The model is encoded in UTF-16, which EnergyPlus cannot read: save it as UTF-8 "
            "and submit it again.",
            code="ENERGYPLUS_UTF16",
        )
    text, warnings = _decoded(content)
    if control := _NOT_TEXT.search(text):
        raise ModelUnreadable(
            f"The model is not a text file: it has the control character "
            f"{control.group()!r} at position {control.start()}.",
            code="ENERGYPLUS_NOT_TEXT",
        )
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
        warnings.append(
            ValidationMessage(
                severity=Severity.WARNING,
                code="ENERGYPLUS_LINE_ENDS",
                text="The lines of the model end with CR alone, which EnergyPlus does not read as "
                "a line's end. The working copy has LF instead; save the model with LF or CRLF.",
            )
        )
    return text, warnings


def _is_utf_16(content: bytes) -> bool:
    sample = content[:_SAMPLE]
    return content.startswith(_UTF_16) or (
        len(sample) > 1
        and any(set(sample[half::2]) == {0} and 0 not in sample[1 - half :: 2] for half in (0, 1))
    )


def _decoded(content: bytes) -> tuple[str, list[ValidationMessage]]:
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
    try:
        text, name = content.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        text, name = content.decode("latin-1"), "Latin-1"
    return text, [
        ValidationMessage(
            severity=Severity.WARNING,
            code="ENERGYPLUS_NOT_UTF8",
            text=f"The model is not encoded in UTF-8 (byte 0x{byte:02X} in line {line}). The working "
            f"copy was converted from {name}; EnergyPlus itself refuses such names. Save the "
            "model as UTF-8.",
            location=MessageLocation(file_role="primary-model", line=line),
        )
    ]
