"""Language models: requests to the endpoint of an organisation or of the site, within their limits.

An organisation's own endpoint is asked if it has one, at public addresses only; else that of the site.

A review has a time limit for all its requests together. A request that failed for a reason that passes
(no connection, 408, 429, 5xx) is repeated. The tokens of each answer and their cost are added to the
usage of the organisation; a review is refused once a month's usage has reached a limit, so reviews at
the same time may exceed it by what each of them uses.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from time import monotonic, sleep
from typing import Any

import requests
from django.db.models import F
from django.utils import timezone
from pydantic import BaseModel, Field, ValidationError
from requests_hardened.ip_filter import InvalidIPAddress

from validibot.accounts.models import Organisation
from validibot.core.echo import echo
from validibot.core.outbound import Deadline, open_session
from validibot.core.sealing import SealBroken
from validibot.engines import EngineError
from validibot.engines.base import ModelAnswer
from validibot.workflows.models import (
    AiEndpoint,
    AiUsage,
    ModelEndpoint,
    MonthlyAiUsage,
    OrganisationAiEndpoint,
    OwnAiUsage,
)

# The waits before a request is repeated.
RETRY_SECONDS = (1, 4)
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_PASSING = frozenset({408, 429, 500, 502, 503, 504, 529})

logger = logging.getLogger(__name__)


class _ChoiceMessage(BaseModel):
    """The message of a choice; a refusal has no content."""

    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    """The part of a choice that is read."""

    message: _ChoiceMessage
    finish_reason: str | None = None


class _Usage(BaseModel):
    """The tokens that an endpoint counted."""

    prompt_tokens: int = Field(default=0, ge=0, le=10**9)
    completion_tokens: int = Field(default=0, ge=0, le=10**9)


class _Completion(BaseModel):
    """The answer of `POST /chat/completions`, as far as it is read."""

    model: str = ""
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage = _Usage()


class _RepeatableFailure(Exception):
    """The endpoint did not answer; a repetition may help."""


def own_endpoint(organisation: Organisation) -> OrganisationAiEndpoint | None:
    """Return the endpoint that an organisation set, or None."""
    return OrganisationAiEndpoint.objects.filter(organisation=organisation).first()


def endpoint_of(organisation: Organisation) -> ModelEndpoint | None:
    """Return the endpoint that reviews of an organisation ask: its own, else the site's, else None."""
    if own := own_endpoint(organisation):
        return own
    site = AiEndpoint.load()
    return site if site.is_set_up and site.is_offered else None


def language_model_of(
    organisation: Organisation, *, seconds: float | None = None
) -> "EndpointModel | None":
    """Return the language model of an organisation, or None if it has none (see `endpoint_of`)."""
    endpoint = endpoint_of(organisation)
    return EndpointModel(endpoint, organisation, seconds=seconds) if endpoint else None


def usage_of(organisation: Organisation, *, own: bool = False) -> MonthlyAiUsage:
    """Return this month's usage of the site's endpoint or the own one; an unsaved row if none."""
    kind, month = _usage_kind(own=own), timezone.now().date().replace(day=1)
    found = kind.objects.filter(organisation=organisation, month=month).first()
    return found or kind(organisation=organisation, month=month)


def _usage_kind(*, own: bool) -> type[AiUsage] | type[OwnAiUsage]:
    return OwnAiUsage if own else AiUsage


class EndpointModel:
    """The language model of an endpoint for the reviews of one organisation (see LanguageModel).

    Its requests together have `seconds`, at most the time limit of the site; one that failed is sent
    again if `repeats`.
    """

    def __init__(
        self,
        endpoint: ModelEndpoint,
        organisation: Organisation,
        *,
        seconds: float | None = None,
        repeats: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._is_own = isinstance(endpoint, OrganisationAiEndpoint)
        # The site's limits protect its workers, so they hold for every endpoint.
        self._limits = endpoint if isinstance(endpoint, AiEndpoint) else AiEndpoint.load()
        self._organisation = organisation
        self._waits = RETRY_SECONDS if repeats else ()
        self._seconds = min(seconds or self._limits.timeout_seconds, self._limits.timeout_seconds)
        self._ends_at = monotonic() + self._seconds

    @property
    def max_document_bytes(self) -> int:
        return self._limits.max_document_bytes

    def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> ModelAnswer:
        """Return the answer to messages. Raises EngineError."""
        self._check_budget()
        body = {
            "model": self._endpoint.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": self._limits.max_answer_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "review", "strict": True, "schema": schema},
            },
        }
        completion = self._completion(self._post(json.dumps(body).encode()))
        self._count(completion.usage)
        choice = completion.choices[0]
        if choice.message.content is None:
            reason = echo(choice.message.refusal or "no reason given", most=200)
            raise EngineError(
                f"The model {self._endpoint.model} refused to answer: {reason}. Change the criteria."
            )
        if choice.finish_reason == "length":
            raise EngineError(
                f"The answer was cut off at {self._limits.max_answer_tokens:,} tokens, the limit of this"
                " site. Ask for fewer criteria, or ask an operator to raise the limit."
            )
        return ModelAnswer(
            text=choice.message.content,
            model=(completion.model or self._endpoint.model)[:150],
            endpoint=self._endpoint.host,
            prompt_tokens=completion.usage.prompt_tokens,
            answer_tokens=completion.usage.completion_tokens,
        )

    def _check_budget(self) -> None:
        """Raise EngineError once the organisation has used its tokens or its money of the month."""
        usage, endpoint = usage_of(self._organisation, own=self._is_own), self._endpoint
        tokens = 0 if self._is_own else self._limits.monthly_tokens
        spent = ""
        if 0 < tokens <= usage.tokens:
            spent = f"{usage.tokens:,} of {tokens:,} tokens"
        elif 0 < endpoint.monthly_budget <= usage.cost:
            spent = f"{usage.cost:,.2f} of {endpoint.monthly_budget:,.2f} {endpoint.currency}"
        if spent:
            raise EngineError(
                f"{self._organisation.name} has used {spent} for AI reviews this month."
                f" Start the run next month, or ask {endpoint.keeper} to raise the limit."
            )

    def _count(self, usage: _Usage) -> None:
        kind = _usage_kind(own=self._is_own)
        row, _ = kind.objects.get_or_create(
            organisation=self._organisation, month=timezone.now().date().replace(day=1)
        )
        tokens = usage.prompt_tokens + usage.completion_tokens
        kind.objects.filter(pk=row.pk).update(
            tokens=F("tokens") + tokens,
            requests=F("requests") + 1,
            cost=F("cost") + self._endpoint.cost(usage.prompt_tokens, usage.completion_tokens),
        )

    def _post(self, body: bytes) -> bytes:
        """Send a request, and repeat it while there is time. Raises EngineError."""
        waits = [*self._waits]
        while True:
            try:
                return self._exchange(body, self._ends_at - monotonic())
            except _RepeatableFailure as failure:
                logger.warning("AI endpoint: %s", failure)
                wait = waits.pop(0) if waits else None
                if wait is None or monotonic() + wait >= self._ends_at:
                    raise EngineError(
                        f"The AI endpoint did not answer: {failure}. Start the run again later."
                    ) from None
                sleep(wait)

    def _exchange(self, body: bytes, seconds: float) -> bytes:
        """Send a request once, and return the body of the answer."""
        too_slow = _RepeatableFailure(f"no answer within {self._seconds:g} s")
        if seconds <= 0:
            raise too_slow
        # The operator's endpoint may be in a private network; an organisation's may not.
        session = open_session() if self._is_own else requests.Session()
        deadline = Deadline(session, seconds)
        try:
            with (
                session,
                deadline,
                session.post(
                    f"{self._endpoint.url.rstrip('/')}/chat/completions",
                    data=body,
                    headers=self._headers(),
                    timeout=(min(seconds, 10), seconds),
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                status, content = answer.status_code, _read(answer)
        except InvalidIPAddress:
            raise EngineError(
                f"The AI endpoint {self._endpoint.host} is in a private network."
                f" {self._correction('enters a public address')}"
            ) from None
        # A label of a name may be too long to be encoded.
        except (requests.RequestException, OSError, UnicodeError) as error:
            if deadline.has_passed:
                raise too_slow from None
            raise _RepeatableFailure(f"no connection ({type(error).__name__})") from None
        if deadline.has_passed:
            raise too_slow
        self._check_status(status)
        if len(content) > MAX_ANSWER_BYTES:
            raise EngineError(
                f"The AI endpoint answered more than {MAX_ANSWER_BYTES:,} bytes."
                f" {self._correction('enters another')}"
            )
        return content

    def _headers(self) -> dict[str, str]:
        try:
            key = self._endpoint.key
        except SealBroken:
            raise EngineError(
                f"The key of the AI endpoint cannot be read. {self._correction('enters it again')}"
            ) from None
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        return {"Content-Type": "application/json", **authorization}

    def _completion(self, content: bytes) -> _Completion:
        try:
            return _Completion.model_validate_json(content)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"])) or "body"
            raise EngineError(
                f"The AI endpoint does not answer as OpenAI's protocol says: {where}: {fault['msg']}."
                f" {self._correction('checks its address')}"
            ) from None

    def _check_status(self, status: int) -> None:
        """Raise _RepeatableFailure or EngineError unless a request was answered with 200.

        The body of a refusal is not shown: it may repeat the key.
        """
        if status in _PASSING:
            raise _RepeatableFailure(f"it answered {status}")
        if status in (401, 403):
            raise EngineError(
                f"The AI endpoint refused the key ({status}). {self._correction('checks it')}"
            )
        if status != 200:
            raise EngineError(
                f"The AI endpoint answered {status}."
                f" {self._correction('checks its address and model')}"
            )

    def _correction(self, what: str) -> str:
        """Return who corrects the endpoint, and where."""
        return f"{self._endpoint.keeper.capitalize()} {what} {self._endpoint.place}."


def _read(answer: requests.Response) -> bytes:
    """Return the body of an answer, up to a little more than is allowed."""
    content = bytearray()
    for chunk in answer.iter_content(64 * 1024):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            break
    return bytes(content)
