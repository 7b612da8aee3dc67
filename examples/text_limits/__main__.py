"""Check that the text of a JSON document is not too long and has no forbidden word."""

import json
import sys

from validibot_shared.validations.envelopes import ValidationInputEnvelope, ValidationStatus

from validators.sdk.main import main
from validators.sdk.validation import (
    ContainerValidator,
    ValidationRequest,
    ValidationResult,
    error,
    rejected,
)


def validate(request: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
    settings = request.envelope.inputs
    try:
        words = json.loads(request.file("document").read_bytes())["text"].lower().split()
    except (ValueError, TypeError, KeyError, AttributeError):
        return rejected(error("The document has no text.", code="TEXT_LIMITS_NO_TEXT"))
    outputs = {"words": len(words)}
    problems = [
        error(f"The text has the forbidden word {word!r}.", code="TEXT_LIMITS_FORBIDDEN")
        for word in settings.get("forbidden", [])
        if word.lower() in words
    ]
    if len(words) > settings["max_words"]:
        text = f"The text has {len(words)} words; at most {settings['max_words']} are allowed."
        problems.append(error(text, code="TEXT_LIMITS_TOO_LONG"))
    if problems:
        return rejected(*problems, outputs=outputs)
    return ValidationResult(status=ValidationStatus.SUCCESS, outputs=outputs)


if __name__ == "__main__":
    sys.exit(main(ContainerValidator(validate=validate, input_envelope=ValidationInputEnvelope)))
