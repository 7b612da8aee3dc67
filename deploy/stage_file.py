"""Reading of stage files; a wrong key or value is refused with file, line, key and what is allowed."""

import re
import tomllib
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deploy.errors import DeployError
from deploy.resource import shown_variable
from deploy.stage import Stage

STAGES = Path(__file__).parent / "stages"
_NAME = re.compile(r"[a-z][a-z0-9]{1,7}")


def read_stage(given: str, *, image_tag: str = "") -> Stage:
    """Return a stage by name or by path; `image_tag` replaces that of the file.

    Raises DeployError.
    """
    path = Path(given) if given.endswith(".toml") else STAGES / f"{given}.toml"
    if not _NAME.fullmatch(path.stem):
        raise DeployError(
            f"{path.stem!r:.40} cannot be the name of a stage: use 2 to 8 lowercase letters and digits, "
            "beginning with a letter."
        )
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        known = ", ".join(sorted(each.stem for each in STAGES.glob("*.toml")))
        raise DeployError(
            f"There is no stage file {path}. Known stages are {known}: copy one of their files."
        ) from None
    except (OSError, RecursionError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeployError(f"{path}: {error}. Mend the file, then run `plan`.") from None
    if image_tag:
        data["image_tag"] = image_tag
    try:
        if "name" in data:
            raise DeployError(
                f"{path}:{_line(text, ('name',))}: unknown key `name`. The stage has the name of its file: "
                "remove the key, or rename the file."
            )
        return Stage.model_validate({"name": path.stem, **data})
    except ValidationError as error:
        # A misspelt key is missing, too; its name says more.
        problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        line = _line(text, problem["loc"])
        raise DeployError(f"{path}:{line}: {_sentence(problem)}") from None


def _sentence(problem: ErrorDetails) -> str:
    # pydantic marks what is wrong with a key by a last part of its own.
    dotted = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        known = ", ".join(
            name for name in _table(problem["loc"][:-1]).model_fields if name != "name"
        )
        return f"unknown key `{dotted}`. Allowed keys here are {known}."
    if problem["type"] == "value_error":
        where = f"in `[{dotted}]` " if dotted else ""
        return f"{where}{problem['msg'].removeprefix('Value error, ')}."
    if problem["type"] == "missing":
        return f"the key `{dotted}` is missing. Add it; docs/production.md describes it."
    if problem["type"] == "string_pattern_mismatch":
        demand = f"must match {problem['ctx']['pattern']}"
    else:
        demand = problem["msg"].replace("Input should", "must", 1)
    return f"`{dotted}` is {_shown(problem)}, which {demand}."


def _shown(problem: ErrorDetails) -> str:
    """Return a wrong value for people; what may be a secret is not shown."""
    value, (table, *keys) = problem["input"], problem["loc"]
    if table == "secrets" and not isinstance(value, str):
        return f"a {type(value).__name__}"  # with values in place of names, perhaps
    text = shown_variable(str(keys[0]) if table == "env" and keys else "", str(value))
    return f"{value!r:.60}" if text == str(value) else text


def _table(path: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model of the table at a path of keys."""
    table: type[BaseModel] = Stage
    for key in path:
        hint = table.model_fields[str(key)].annotation
        kinds = (each for each in (hint, *get_args(hint)) if isinstance(each, type))
        table = next((each for each in kinds if issubclass(each, BaseModel)), table)
    return table


def _line(text: str, path: tuple[int | str, ...]) -> int:
    """Return the line of a key, or else that of the table that should have it; 1 at worst.

    tomllib has no positions, and a stage file has only plain keys below plain tables.
    """
    keys = [str(part) for part in path if isinstance(part, str)]
    table: list[str] = []
    best, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([\w.-]+)\]", line):
            table, here = header[1].split("."), header[1].split(".")
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            here = [*table, *key[1].split(".")]
        else:
            continue
        if here == keys[: len(here)] and len(here) > best_depth:
            best, best_depth = number, len(here)
    return best
