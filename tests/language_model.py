"""The stand-in for a language model as the engine of AI reviews asks it, without its server."""

from collections.abc import Mapping, Sequence
from typing import Any

from devenv.gcp import stand_in_model
from validibot.engines.base import ModelAnswer


class StandInModel:
    """A language model that answers as `devenv.gcp.stand_in_model` does."""

    max_document_bytes = 100_000

    def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> ModelAnswer:
        text = stand_in_model.answer(messages[-1]["content"])
        return ModelAnswer(
            text, stand_in_model.MODEL, "localhost", prompt_tokens=1, answer_tokens=1
        )
