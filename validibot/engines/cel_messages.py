"""Errors of CEL in the user's words, each with a hint and its position.

The library's messages name tokens of its grammar and overloads of its functions. This module
explains the mistakes that people make most: operators and functions of other languages, misspelt
names, and keys that a document does not have.
"""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from validibot.core.echo import echo
from validibot.engines.scope import NAMES, ROW, SPELLINGS

_FUNCTIONS = re.findall(
    r"[\w.]+",
    "abs all base64.decode base64.encode bind bool bytes ceil charAt contains distinct double"
    " duration endsWith exists exists_one filter first flatten floor format getFullYear greatest"
    " has hasValue indexOf int isNaN join last lastIndexOf least lowerAscii map matches none of"
    " optMap orValue range replace reverse round sets.contains sets.equivalent sets.intersects"
    " size slice sort sortBy split sqrt startsWith string substring timestamp transformList trim"
    " trunc type uint upperAscii value",
)

_FIRST_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_WORD_AT_END = re.compile(r"[A-Za-z_]\w*\s*\Z")
_OVERLOAD = re.compile(r"found no matching overload for '(.+?)' applied to '(.*)'")
_RUN_OVERLOAD = re.compile(r"No matching overloads found ?: (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_MISSING_KEY = re.compile(r'Key not found in map ?: (?:"(.*)"|(.*))')
_INDEX = re.compile(r"Index error: index=(-?\d+) size=(\d+)")

_SYMBOLS = "=<>&|"
# Operators of other languages, with what CEL has.
_OPERATORS = {
    "=": "`==` compares two values",
    "===": "`==` compares two values",
    "<>": "`!=` means not equal",
    "&": "`&&` means and",
    "|": "`||` means or",
    "and": "`&&` means and",
    "or": "`||` means or",
    "not": "`!` means not, as in `!has(payload.x)`",
    "is": "`==` compares two values, as in `x == null`",
    "contains": "it is a function: `x.contains(y)`",
    "matches": "it is a function: `x.matches('pattern')`",
    "like": "use `x.matches('pattern')` or `x.contains('text')`",
    "if": "a choice is `condition ? a : b`",
    "lambda": "a loop is `list.all(x, x > 0)`",
}
# Names of other languages, with what CEL has.
_ALTERNATIVES = {
    "len": "size(x)",
    "length": "size(x)",
    "count": "size(x)",
    "any": "x.exists(v, v > 1)",
    "some": "x.exists(v, v > 1)",
    "every": "x.all(v, v > 1)",
    "exists": "x.exists(v, v > 1), with a variable and a condition",
    "all": "x.all(v, v > 1), with a variable and a condition",
    "filter": "x.filter(v, v > 1), with a variable and a condition",
    "map": "x.map(v, v.name), with a variable and a value",
    "max": "math.greatest(x)",
    "min": "math.least(x)",
    "abs": "math.abs(x)",
    "round": "math.round(x)",
    "floor": "math.floor(x)",
    "ceil": "math.ceil(x)",
    "sqrt": "math.sqrt(x)",
    "isNull": "x == null",
    "defined": "has(payload.x)",
    "lower": "x.lowerAscii()",
    "upper": "x.upperAscii()",
    "toLowerCase": "x.lowerAscii()",
    "toUpperCase": "x.upperAscii()",
    "strip": "x.trim()",
    "substr": "x.substring(from, to)",
    "float": "double(x)",
    "str": "string(x)",
    "True": "true",
    "False": "false",
    "TRUE": "true",
    "FALSE": "false",
    "None": "null",
    "NULL": "null",
    "undefined": "has(payload.x)",
}
_ABSENT = {
    "sum": "CEL has no sum; compute it before the document is sent",
    "avg": "CEL has no average; compute it before the document is sent",
}
# The library compiles these and cannot evaluate them.
_UNAVAILABLE = re.compile(r"\btransformMap(?:Entry)?(?=\s*\()")
_NAMESPACES = {"base64", "cel", "lists", "math", "optional", "regex", "sets", "strings"}
_RUN_TIME = (
    ("Applying SELECT to non-message type", "a value before `.` is not an object"),
    ("optional.none() dereference", "an optional value is empty; give a default: `orValue(…)`"),
    ("divide by zero", "a number is divided by zero"),
    ("modulus by zero", "a number is divided by zero"),
    ("expected integer type", "a list has no names; its items have numbers: `x[0]`"),
    ("Invalid container type", "only objects and lists have items in brackets"),
    ("Iteration budget exceeded", "it goes through more items than is allowed"),
    ("Timestamp conversion failed", "a text is not a time such as '2026-01-31T12:00:00Z'"),
    ("Duration conversion failed", "a text is not a duration such as '90s' or '1h30m'"),
    ("invalid regular expression", "a pattern is not a valid regular expression (RE2)"),
)


class _Fault(NamedTuple):
    """A message of the library about an expression, and the offset of its place."""

    message: str
    expression: str
    offset: int
    of_rows: bool = False

    @property
    def rest(self) -> str:
        return self.expression[self.offset :]

    @property
    def before(self) -> str:
        return self.expression[: self.offset]


def unavailable(expression: str) -> str:
    """Return why an expression cannot be evaluated by this version of the library, or ""."""
    found = _UNAVAILABLE.search(expression)
    if not found:
        return ""
    place = _place(expression, found.start())
    return f"The function {found[0]} is not available {place}: use `transformList`"


def explain_compilation(text: str, expression: str, *, of_rows: bool = False) -> str:
    """Return the library's first error about `expression` in the user's words, with its place."""
    if "recursion" in text:
        return "The expression is nested too deep: at most 32 levels are read"
    found = _FIRST_ERROR.search(text)
    if not found:
        return plain(text)
    line, column, message = found.groups()
    lines = expression.split("\n")
    offset = sum(len(each) + 1 for each in lines[: int(line) - 1]) + int(column) - 1
    fault = _Fault(message.removesuffix(" (in container '')"), expression, offset, of_rows)
    for explain in (_name, _operator, _overload, _syntax):
        if reason := explain(fault):
            return reason
    return f"{fault.message} {_place(expression, offset)}"


def explain_evaluation(text: str, expression: str) -> str:
    """Return an error at run time in the user's words, with its place if there is only one."""
    message = plain(text)
    if found := _MISSING_KEY.search(message):
        return _missing_key(found[1] or found[2], expression)
    if found := _INDEX.search(message):
        number, size = found.groups()
        return f"item {number} does not exist: the list has {size} items, the first is 0"
    if found := _RUN_OVERLOAD.search(message):
        return _mismatch(found[1])
    for mark, reason in _RUN_TIME:
        if mark in message:
            return reason
    return message


def plain(text: str) -> str:
    """Return the first line of an error without the library's status."""
    first, *_ = text.splitlines() or ["unknown error"]
    return _STATUS.sub("", first).replace(" : ", ": ").rstrip(".")


def _missing_key(key: str, expression: str) -> str:
    access = re.compile(rf"([\w.]*)\.{re.escape(key)}\b|([\w.]*)\[[\"']{re.escape(key)}[\"']\]")
    places = list(access.finditer(expression))
    reason = f'there is no key "{key}"'
    if len(places) != 1:
        return f"{reason}; test for it with `has(…)`"
    owner = places[0][1] or places[0][2] or ""
    shown = f"{owner or 'x'}.{key}" if key.isidentifier() else f"'{key}' in {owner or 'x'}"
    test = f"has({shown})" if key.isidentifier() else shown
    place = _place(expression, places[0].end() - len(key) - (0 if places[0][1] is not None else 2))
    return f"{reason} {place}; test for it with `{test}`"


def _mismatch(call: str) -> str:
    # An operator is named `_+_`; the kind of a method's owner comes before its name.
    member = re.fullmatch(r"\((\w+)\)\.(\w+)\((.*)\)", call)
    name, _, kinds = (f"{member[2]}({member[1]}, {member[3]}" if member else call).partition("(")
    operator = name.strip("_@")
    if operator in {"&&", "||", "!", "<jump_condition>"}:
        return "a condition is not true or false; compare the value, as in `x == 1`"
    kinds = kinds.rstrip("), ").replace("int64", "int").replace(", ", " and ")
    return f"`{operator}` cannot be applied to {kinds or 'these values'}" + _conversion(kinds)


def _conversion(kinds: str) -> str:
    if "string" in kinds and ("int" in kinds or "double" in kinds):
        return "; convert one of them: `string(x)`, `double(x)`"
    if "int" in kinds and "double" in kinds:
        return "; convert one of them: `double(x)`"
    return ""


def _name(fault: _Fault) -> str:
    found = _UNDECLARED.search(fault.message)
    if not found:
        return ""
    full = found[1]
    root = full.partition(".")[0]
    # CEL gives the place of the dot or of the parenthesis after a name.
    start = fault.expression.rfind(root, 0, fault.offset + len(root))
    start = start if start >= 0 else fault.offset
    place = _place(fault.expression, start)
    if reason := _ABSENT.get(root):
        return f"{reason} {place}"
    if root in _NAMESPACES:
        return f"Unknown function {echo(_dotted(fault.expression, start))} {place}"
    if alternative := _ALTERNATIVES.get(root):
        return f"Unknown name {echo(root)} {place}: write `{alternative}`"
    after = fault.expression[start + len(root) :].lstrip()
    is_function = after.startswith("(") or fault.expression[:start].rstrip().endswith(".")
    unknown = _unknown_function if is_function else _unknown_name
    return unknown(fault, full, place)


def _unknown_function(fault: _Fault, name: str, place: str) -> str:
    root = name.partition(".")[0]
    near = _nearest(root, _FUNCTIONS)
    return f"Unknown function {echo(root)} {place}" + (f": did you mean `{near}`?" if near else "")


def _unknown_name(fault: _Fault, name: str, place: str) -> str:
    root = name.partition(".")[0]
    if root == ROW.name:
        return f"Unknown name {echo(root)} {place}: it is known only in row expressions of a table"
    known = (*SPELLINGS, ROW.name) if fault.of_rows else SPELLINGS
    if near := _nearest(root, known):
        return f"Unknown name {echo(root)} {place}: did you mean `{near}`?"
    names = ", ".join(each.name for each in ((*NAMES, ROW) if fault.of_rows else NAMES))
    owner = ROW.name if fault.of_rows else "payload"
    return f"Unknown name {echo(name)} {place}: the names are {names}, as in `{owner}.{name}`"


def _nearest(name: str, known: Sequence[str]) -> str:
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else ""


def _dotted(expression: str, start: int) -> str:
    found = re.match(r"[\w.]+", expression[start:])
    return found[0] if found else ""


def _operator(fault: _Fault) -> str:
    if "yntax error" not in fault.message and "reserved" not in fault.message:
        return ""
    start = len(fault.before.rstrip(_SYMBOLS))
    symbol = re.match(f"[{_SYMBOLS}]*", fault.expression[start:])
    found = [(symbol[0] if symbol else "", start)]
    found += [(word, _word_near(fault, word)) for word in _OPERATORS if word.isalpha()]
    for name, place in found:
        if name in _OPERATORS and place >= 0:
            shown = fault.expression[place : place + len(name)]
            return f"`{shown}` is not CEL {_place(fault.expression, place)}: {_OPERATORS[name]}"
    return ""


def _word_near(fault: _Fault, word: str) -> int:
    """Return the offset of a word at the place of the fault or just before it, or -1."""
    if re.match(rf"{word}\b", fault.rest, re.IGNORECASE):
        return fault.offset
    last = _WORD_AT_END.search(fault.before)
    if last and last[0].strip().lower() == word:
        return last.start()
    return -1


def _overload(fault: _Fault) -> str:
    found = _OVERLOAD.search(fault.message)
    if not found:
        return ""
    call = f"{found[1]}{found[2]}" if "(" in found[2] else f"{found[1]}({found[2]})"
    return f"{_mismatch(call)} {_place(fault.expression, fault.offset)}"


def _syntax(fault: _Fault) -> str:
    if "yntax error" not in fault.message:
        return ""
    reason, hint = _broken_syntax(fault)
    return f"Syntax error: {reason} {_place(fault.expression, fault.offset)}{hint}"


def _broken_syntax(fault: _Fault) -> tuple[str, str]:
    """Return what is wrong at the place of a syntax error, and a hint."""
    if fault.offset >= len(fault.expression.rstrip()):
        expected = re.search(r"(?:missing|expecting) ('[^']')", fault.message)
        hint = f": {expected[1]} is missing" if expected else ""
        return "the expression is not complete", hint
    character = fault.rest[0]
    if character in "'\"":
        return "a quotation mark is not closed", ""
    if not character.isascii():
        hint = f": write such names in brackets, as in `payload['{character}']`"
        return f"unexpected character {echo(character)}", hint
    token = re.match(r"\w+|\S", fault.rest.lstrip())
    return f"unexpected {echo(token[0] if token else '')}", ""


def _place(expression: str, offset: int) -> str:
    line = expression.count("\n", 0, offset) + 1
    return f"(line {line}, column {offset - expression.rfind(chr(10), 0, offset)})"
