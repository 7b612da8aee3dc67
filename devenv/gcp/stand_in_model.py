"""A stand-in for a language model: OpenAI's chat completions, answered by fixed rules.

It is no model. It reads a review as the product sends it (a JSON object with `criteria` and `document`)
and decides the criteria that it understands:

| criterion has | met if |
|---|---|
| contains "X" | the document has X, in capitals or not; likewise mentions, names and has |
| does not contain "X" | it has not; likewise does not mention, name and have |
| at least N words, at most N words | the document has so many |

Any other criterion is `unclear`. The same request always has the same answer, so that examples and tests
work without a network. It is found on the plain port below `/stand-in-model/v1/`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.rpc import HttpMount
from devenv.gcp.rpc.rest import read_body

MODEL = "stand-in"
_LARGEST = 8 * 1024 * 1024
_BASE = "/stand-in-model/v1"
_QUOTED = re.compile(r"[\"“']([^\"”']+)[\"”']")
_CONTAINS = re.compile(r"\b(contains?|mentions?|names?|has|have)\b", re.IGNORECASE)
_NOT = re.compile(r"\b(not|no|never)\b", re.IGNORECASE)
_WORDS = re.compile(r"\bat (least|most) (\d{1,9}) words\b", re.IGNORECASE)


class _ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: str
    content: str


class _ChatRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[_ChatMessage]


class _Criterion(BaseModel):
    number: int
    text: str


class _Review(BaseModel):
    model_config = ConfigDict(extra="ignore")

    criteria: list[_Criterion]
    document: str


def mounts() -> tuple[HttpMount, ...]:
    """Return the endpoints of the stand-in."""
    app = Starlette(
        routes=[
            Route(f"{_BASE}/chat/completions", _complete, methods=["POST"]),
            Route(f"{_BASE}/models", _models, methods=["GET"]),
        ]
    )
    return (HttpMount(hosts=("stand-in-model.internal",), app=app, paths=(f"{_BASE}/",)),)


async def _models(_request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


async def _complete(request: Request) -> Response:
    try:
        body = await read_body(request, limit=_LARGEST)
        chat = _ChatRequest.model_validate_json(body)
        content = answer(chat.messages[-1].content if chat.messages else "")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        return _refusal(f"{where}: {fault['msg']}")
    except InvalidArgument as error:
        return _refusal(error.message)
    sent = sum(len(each.content.split()) for each in chat.messages)
    usage = {"prompt_tokens": sent, "completion_tokens": len(content.split())}
    return JSONResponse(
        {
            "id": "chatcmpl-stand-in",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "stop",
                }
            ],
            "usage": {**usage, "total_tokens": sum(usage.values())},
        }
    )


def _refusal(message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, 400)


def answer(message: str) -> str:
    """Return the answer to the last message of a request; prose if it is no review."""
    try:
        review = _Review.model_validate_json(message)
    except ValidationError:
        return "This stand-in answers only reviews of documents."
    return json.dumps({"answers": [*_answers(review)]}, ensure_ascii=False)


def _answers(review: _Review) -> Iterator[dict[str, Any]]:
    for criterion in review.criteria:
        is_met, explanation, quote = _judge(criterion.text, review.document)
        verdict = "unclear" if is_met is None else "met" if is_met else "not_met"
        yield {
            "criterion": criterion.number,
            "verdict": verdict,
            "confidence": 0.0 if is_met is None else 1.0,
            "explanation": explanation,
            "quote": quote,
        }


def _judge(criterion: str, document: str) -> tuple[bool | None, str, str]:
    """Return whether a criterion is met (None: not understood), the reason, and a quote."""
    if words := _WORDS.search(criterion):
        wanted, count = int(words[2]), len(document.split())
        is_met = count >= wanted if words[1].lower() == "least" else count <= wanted
        return is_met, f"The document has {count} words.", ""
    quoted = _QUOTED.search(criterion)
    if quoted and _CONTAINS.search(criterion[: quoted.start()]):
        found = re.search(re.escape(quoted[1]), document, re.IGNORECASE)
        is_met = (found is None) == bool(_NOT.search(criterion[: quoted.start()]))
        reason = "has" if found else "does not have"
        return is_met, f"The document {reason} “{quoted[1]}”.", found[0] if found else ""
    return None, "The stand-in understands criteria such as: contains “X”, at least 20 words.", ""
