"""Reads TOML files of ours into strict models, and says by name what is wrong in them."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class TomlError(Exception):
    """A file is wrong; the message names it and what in it."""


class Part(BaseModel):
    """A table of a file: unknown keys and other types than declared are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_toml[T: Part](path: Path, model: type[T]) -> T:
    """Read a file into a model. Raises TomlError."""
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TomlError(f"{path} cannot be read: {error}.") from None
    except ValidationError as error:
        raise TomlError(f"{path}: {'; '.join(_faults(error))}.") from None


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        yield f"`{where}`: {fault['msg']}"
