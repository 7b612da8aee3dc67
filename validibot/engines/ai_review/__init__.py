"""AI review: a language model judges a text by criteria in plain words.

The endpoint is the organisation's own or the site's. The answer is structured, and its shape is checked here; the severity
of a finding is that of its criterion. Each finding says that a machine made it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from validibot.core.echo import echo
from validibot.engines.ai_review.config import AiReviewConfig, ReviewCriterion
from validibot.engines.ai_review.prompt import (
    AnswerInvalid,
    CriterionAnswer,
    messages_of,
    place_of,
    read_answer,
    schema_of,
)
from validibot.engines.base import (
    Document,
    Engine,
    EngineError,
    EngineManifest,
    FileType,
    LanguageModel,
    ModelAnswer,
    Output,
    Result,
)
from validibot.engines.json_text import decode_text, line_and_column
from validibot.engines.problems import BadDocument, DocumentProblem

# An answer of the wrong shape is asked for again once.
MAX_REQUESTS = 2
MAX_QUOTE = 300
MARK = "AI review (machine-made)"


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Return a finding for each criterion that the document does not meet.

    Raises EngineError if there is no model, or the model gives no valid answer.
    """
    settings = AiReviewConfig.model_validate(config)
    if document.model is None:
        raise EngineError(
            "AI review has no endpoint. An owner or admin sets one in the settings of the organisation,"
            " or an operator one for all in the admin site."
        )
    if len(document.content) > document.model.max_document_bytes:
        message = (
            f"The document has {len(document.content):,} bytes; at most"
            f" {document.model.max_document_bytes:,} can be reviewed."
        )
        return Result((DocumentProblem(message, code="document.too_large"),))
    try:
        text = decode_text(document.content)
    except BadDocument as bad:
        return Result((bad.problem,))
    messages = messages_of(document, text, settings)
    answers, used = _ask(document.model, messages, len(settings.criteria))
    problems = _problems(settings, answers, text)
    return Result(tuple(problems), _outputs(messages, answers, used, document.content))


def _ask(
    model: LanguageModel, messages: Sequence[Mapping[str, str]], count: int
) -> tuple[list[CriterionAnswer], list[ModelAnswer]]:
    """Return the answers to the criteria, and what the endpoint answered to each request."""
    used: list[ModelAnswer] = []
    reason = ""
    while len(used) < MAX_REQUESTS:
        used.append(model.ask(messages, schema_of(count)))
        try:
            return read_answer(used[-1].text, count), used
        except AnswerInvalid as error:
            reason = str(error)
    raise EngineError(
        f"The model {used[-1].model} gave no valid answer in {MAX_REQUESTS} requests: {reason}. It"
        f" began with {echo(used[-1].text[:80])}. Start the run again, or have a model with structured"
        " outputs set at the endpoint."
    )


def _problems(
    settings: AiReviewConfig, answers: Sequence[CriterionAnswer], text: str
) -> Iterator[DocumentProblem]:
    for criterion, answer in zip(settings.criteria, answers, strict=True):
        if answer.verdict != "met":
            yield _problem(criterion, answer, text, settings.least_confidence)


def _problem(
    criterion: ReviewCriterion, answer: CriterionAnswer, text: str, least_confidence: float
) -> DocumentProblem:
    severity: str = criterion.severity
    if severity == "ERROR" and (
        answer.verdict == "unclear" or answer.confidence < least_confidence
    ):
        severity = "WARNING"
    verdict = "not met" if answer.verdict == "not_met" else "unclear"
    text_of_criterion = criterion.text.strip()[:300]
    message = f"{MARK}: “{text_of_criterion}” is {verdict} (confidence {answer.confidence:.2f})."
    if explanation := " ".join(answer.explanation.split())[:400]:
        message = f"{message} {explanation}"
    place = place_of(answer.quote, text)
    if place is not None:
        message = f"{message} Quote: “{' '.join(answer.quote.split())[:MAX_QUOTE]}”"
    elif answer.quote.strip():
        message = f"{message} The model quoted a passage that the document does not have."
    line, column = line_and_column(text, place) if place is not None else (None, None)
    code = f"ai_review.{answer.verdict}"
    path = f"criteria/{answer.criterion}"
    return DocumentProblem(message, severity, code, path, line, column)


def _outputs(
    messages: Sequence[Mapping[str, str]],
    answers: Sequence[CriterionAnswer],
    used: Sequence[ModelAnswer],
    content: bytes,
) -> dict[str, Any]:
    """Return the outputs; `prompt` has everything that was sent but the document and its values."""
    verdicts = [each.verdict for each in answers]
    return {
        "met_count": verdicts.count("met"),
        "not_met_count": verdicts.count("not_met"),
        "unclear_count": verdicts.count("unclear"),
        "model": used[-1].model,
        "endpoint": used[-1].endpoint,
        "requests": len(used),
        "prompt_tokens": sum(each.prompt_tokens for each in used),
        "answer_tokens": sum(each.answer_tokens for each in used),
        "answers": [each.model_dump() for each in answers],
        "prompt": {
            "system": messages[0]["content"],
            "messages_sha256": hashlib.sha256(
                "\0".join(each["content"] for each in messages).encode("utf-8", "replace")
            ).hexdigest(),
            "document_sha256": hashlib.sha256(content).hexdigest(),
        },
    }


ENGINE = Engine(
    EngineManifest(
        slug="ai-review",
        title="AI review",
        description="Asks a language model whether a text meets criteria in plain words; each finding"
        " has a quote and the model's confidence, and is marked as machine-made.",
        validation_type="AI_REVIEW",
        version="1",
        accepts=(
            FileType(".txt", "text/plain"),
            FileType(".md", "text/markdown"),
            FileType(".json", "application/json"),
            FileType(".yaml", "application/yaml"),
            FileType(".xml", "application/xml"),
            FileType(".html", "text/html"),
            FileType(".csv", "text/csv"),
        ),
        outputs=(
            Output("met_count", "Criteria met", "", "met_count"),
            Output("not_met_count", "Criteria not met", "", "not_met_count"),
            Output("unclear_count", "Criteria unclear", "", "unclear_count"),
            Output("model", "Model", "", "model"),
            Output("endpoint", "Endpoint", "", "endpoint"),
            Output("requests", "Requests", "", "requests"),
            Output("prompt_tokens", "Tokens of the prompt", "", "prompt_tokens"),
            Output("answer_tokens", "Tokens of the answer", "", "answer_tokens"),
        ),
        reads_context=True,
        asks_model=True,
        max_bytes=1024 * 1024,
    ),
    check,
    AiReviewConfig,
)
