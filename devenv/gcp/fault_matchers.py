"""Matchers of faults: globs, and whether one can ever match what the cloud has.

The resources of a method have forms, which are globs too; `PART` in them stands for some text
without a slash.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from devenv.gcp.errors import InvalidArgument

PART = "\0"
ANY = ("*",)
ATTEMPT = "run.attempt"  # the start of a container of a job, as a method of the journal
DELIVER = "deliver"  # a request of Cloud Tasks, Cloud Scheduler or Pub/Sub to its target
OWN_FORMS = {ATTEMPT: (PART,), DELIVER: ("http://*", "https://*")}
# HOST/PATH of a request; a client may send no host, and that of an IPv6 address is cut.
HTTP_FORMS = (f"{PART}.{PART}/*", "localhost/*", "[/*", "/*")
_LONGEST = 8192  # characters of a resource in the journal
_SET = re.compile(r"\[[^\]]+\]")
_SHOWN = 8  # callers in a message


def check_method(pattern: str, methods: Iterable[str]) -> list[str]:
    """Return the methods that match. Raises InvalidArgument if there is none."""
    methods = tuple(methods)
    if found := [each for each in methods if fnmatchcase(each.lower(), pattern.lower())]:
        return found
    near = get_close_matches(pattern, methods, n=3, cutoff=0.3)
    raise InvalidArgument(
        f"method {pattern[:200]!r} matches nothing that is emulated. "
        + (f"Similar: {', '.join(near)}." if near else "`devenv journal` shows methods.")
    )


def check_resource(pattern: str, forms: Mapping[str, Sequence[str]]) -> None:
    """Refuse a resource that no method has; `forms` are those of each method that matches.

    Raises InvalidArgument.
    """
    if len(pattern) > _LONGEST:
        raise InvalidArgument(f"resource has {len(pattern)} characters; send at most {_LONGEST}.")
    if any(may_match(pattern, form) for each in forms.values() for form in each):
        return
    method, first = next((method, each[0]) for method, each in forms.items())
    form = first.replace(f"{PART}.{PART}/", "HOST/").replace(PART, "NAME")
    raise InvalidArgument(
        f"resource {pattern[:200]!r} matches no call of {method}, whose resources have the form "
        f"{form}; copy one that `devenv journal` shows, or begin with '*'."
    )


def check_caller(pattern: str, emails: Iterable[str]) -> None:
    """Refuse a caller who is nobody. Raises InvalidArgument.

    Principals of workload identity pools may come from outside; a call without a token has no caller.
    """
    emails = tuple(emails)
    names = [email.partition("@")[0] for email in emails]
    known = (*emails, "", "principal://iam.googleapis.com/projects/*")
    if pattern in names or any(may_match(pattern, each) for each in known):
        return
    listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    raise InvalidArgument(
        f"caller {pattern[:200]!r} matches no account of the project. Known: {listed}. "
        "Create the account first, or leave the caller out."
    )


def may_match(pattern: str, form: str) -> bool:
    """Return whether there is a text that two globs match; sets of characters count as `?`."""
    one, other = _SET.sub("?", pattern), _SET.sub("?", form)
    seen: set[tuple[int, int]] = set()
    waiting = [(0, 0)]
    while waiting:
        if (at := waiting.pop()) in seen:
            continue
        seen.add(at)
        left, right = one[at[0] : at[0] + 1], other[at[1] : at[1] + 1]
        if not left and not right:
            return True
        waiting += _next_of(at, left, right)
    return False


def _next_of(at: tuple[int, int], left: str, right: str) -> Iterable[tuple[int, int]]:
    """Yield where two globs may go on, whose next characters these are."""
    first, second = at
    if left == "*":
        yield first + 1, second
        if right:
            yield first, second + 1
    if right in ("*", PART) and right:
        yield first, second + 1
        if left and not (right == PART and left == "/"):
            yield first + 1, second
    if left and right and (left == right or "?" in (left, right)):
        yield first + 1, second + 1
