"""Evaluation of Basic rules on a document: violations, each with its place."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from validibot.engines.basic.documents import Tree
from validibot.engines.basic.operators import OPERATORS, Operator, ValueKind
from validibot.engines.basic.paths import Keys, Match, PathStep, at, parse_path, select
from validibot.engines.basic.rules import BasicRule, Quantifier, WhenCondition
from validibot.engines.basic.values import Unfit, is_blank, moment, number, plain, shown

_SYMBOLS: dict[str, Callable[[Any, Any], bool]] = {
    "count": lambda found, expected: found == expected,
    "min_count": lambda found, expected: found >= expected,
    "max_count": lambda found, expected: found <= expected,
    "sum": lambda found, expected: found == expected,
    "min_sum": lambda found, expected: found >= expected,
    "max_sum": lambda found, expected: found <= expected,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A place where a rule does not hold. `subject` is "is 5" or the like, `must` the requirement."""

    keys: Keys
    place: str
    value: str
    subject: str
    must: str

    @property
    def message(self) -> str:
        return f"{self.place} {self.subject}; it must {self.must}."


def evaluate_rule(rule: BasicRule, tree: Tree) -> Iterator[Violation]:
    """Yield the violations of a rule. Raises TooManyMatches."""
    return _Evaluation(rule, tree).violations()


class _Evaluation:
    """One rule on one document."""

    def __init__(self, rule: BasicRule, tree: Tree) -> None:
        self.rule = rule
        self.tree = tree
        self.operator = OPERATORS[rule.operator]
        self.steps = tree.steps(parse_path(rule.path))
        # Values and truth of other paths, by the place that they are relative to.
        self._others: dict[tuple[str, Keys], list[Match]] = {}
        self._conditions: dict[Keys, bool] = {}

    def violations(self) -> Iterator[Violation]:
        matches = select(self.tree.root, self.steps)
        if self.rule.when:
            matches = [match for match in matches if self.applies(self.rule.when, match)]
        existing = [match for match in matches if match.exists]
        match self.rule.operator:
            case "required":
                found = self.required(matches)
            case "absent":
                found = (self.violation(each, self.operator.must) for each in existing)
            case "unique":
                found = self.unique(existing)
            case "sorted":
                found = self.sorted(existing)
            case "count" | "min_count" | "max_count":
                found = self.counted(existing)
            case "sum" | "min_sum" | "max_sum":
                found = self.summed(existing)
            case _:
                found = self.tested(existing)
        return found

    def applies(self, when: WhenCondition, match: Match) -> bool:
        base = self.base(self.tree.steps(parse_path(when.path)), match)
        if base not in self._conditions:
            operator = OPERATORS[when.operator]
            found = [each for each in self.other(when.path, match) if each.exists]
            if operator.name == "absent":
                holds = not found
            elif operator.name == "required":
                holds = any(not is_blank(plain(each.value)) for each in found)
            else:
                holds = any(self.holds(operator, each.value, when.value) is True for each in found)
            self._conditions[base] = holds
        return self._conditions[base]

    def other(self, path: str, match: Match) -> list[Match]:
        """Return what a path selects for the item or row of a match."""
        steps = self.tree.steps(parse_path(path))
        base = self.base(steps, match)
        if (path, base) not in self._others:
            rest = steps[self.shared(steps, match) :]
            self._others[path, base] = select(at(self.tree.root, base), rest)
        return self._others[path, base]

    def shared(self, steps: Sequence[PathStep], match: Match) -> int:
        """Return the number of steps that two paths have in common and that exist in the document."""
        count = 0
        limit = min(len(steps), len(self.steps) - 1, len(match.marks))
        while count < limit and steps[count] == self.steps[count]:
            count += 1
        while count and not _exists(self.tree.root, match.keys[: match.marks[count - 1]]):
            count -= 1
        return count

    def base(self, steps: Sequence[PathStep], match: Match) -> Keys:
        count = self.shared(steps, match)
        return match.keys[: match.marks[count - 1]] if count else ()

    def holds(self, operator: Operator, value: Any, expected: Any) -> bool | str:
        """Return whether a value satisfies an operator, or the kind of value that it should be."""
        assert operator.test is not None
        try:
            return operator.test(plain(value), expected, self.tree.is_text_only)
        except Unfit as unfit:
            return str(unfit)

    def tested(self, matches: list[Match]) -> Iterator[Violation]:
        held = 0
        failed: list[Violation] = []
        for each in matches:
            expected, must, is_known = self.expected(each)
            if not is_known:
                continue
            result = self.holds(self.operator, each.value, expected)
            held += result is True
            if result is True and self.rule.match == Quantifier.NONE:
                yield self.violation(each, f"not {must}")
            elif result is not True and self.rule.match == Quantifier.EACH:
                unfit = f", which is not {result}" if isinstance(result, str) else ""
                yield self.violation(each, must, after=unfit)
            elif result is not True and not failed:
                failed.append(self.violation(each, must))
        if self.rule.match == Quantifier.ANY and not held:
            yield self.none_of(len(matches), failed)

    def none_of(self, count: int, failed: list[Violation]) -> Violation:
        must = self.operator.phrase(self.rule.value, from_text=self.tree.is_text_only)
        subject = f"has {count} values" if count else "has no value"
        first = failed[0].keys if failed else ()
        return Violation(first, f"`{self.rule.path}`", "", subject, f"have one that must {must}")

    def expected(self, match: Match) -> tuple[Any, str, bool]:
        """Return the value to compare with, the requirement, and whether there is such a value."""
        if self.operator.kind is not ValueKind.PATH:
            must = self.operator.phrase(self.rule.value, from_text=self.tree.is_text_only)
            return self.rule.value, must, True
        others = [each for each in self.other(self.rule.value, match) if each.exists]
        if not others or is_blank(plain(others[0].value)):
            return None, "", False
        value = plain(others[0].value)
        text = self.operator.phrase(self.rule.value)
        return value, f"{text}, which is {self.show(value)}", True

    def required(self, matches: list[Match]) -> Iterator[Violation]:
        for each in matches:
            if not each.exists:
                place = self.tree.shown(each.keys)
                yield Violation(each.keys, place, "", "is missing", self.operator.must)
            elif is_blank(plain(each.value)):
                yield self.violation(each, self.operator.must)

    def unique(self, matches: list[Match]) -> Iterator[Violation]:
        seen: dict[Any, Match] = {}
        for each in matches:
            key = _hashable(plain(each.value))
            first = seen.setdefault(key, each)
            if first is not each:
                place = self.tree.shown(first.keys)
                yield self.violation(each, f"be unique, and {place} has the same value")

    def sorted(self, matches: list[Match]) -> Iterator[Violation]:
        before: Match | None = None
        for each in matches:
            if before is not None:
                low, high = (before, each) if self.rule.value == "ascending" else (each, before)
                if not self.is_ordered(plain(low.value), plain(high.value)):
                    order = f"be sorted {self.rule.value}"
                    place = self.tree.shown(before.keys)
                    yield self.violation(
                        each, f"{order}, and {place} before it is {self.show(before.value)}"
                    )
            before = each

    def is_ordered(self, low: Any, high: Any) -> bool:
        """Return whether two values are in order: as numbers, as dates, or else as texts."""

        def as_number(value: Any) -> Any:
            return number(value, from_text=self.tree.is_text_only)

        for read in (as_number, moment):
            with suppress(Unfit):
                return bool(read(low) <= read(high))
        return str(low) <= str(high)

    def counted(self, matches: list[Match]) -> Iterator[Violation]:
        if not _SYMBOLS[self.operator.name](len(matches), self.rule.value):
            must = f"be {self.operator.must.format(self.rule.value).removeprefix('be ')}"
            subject = f"is there {len(matches)} times"
            must = must.replace(" of them", " times")
            yield Violation((), f"`{self.rule.path}`", str(len(matches)), subject, f"{must}")

    def summed(self, matches: list[Match]) -> Iterator[Violation]:
        groups: dict[Keys, list[Match]] = defaultdict(list)
        steps = self.tree.steps(parse_path(self.rule.value)) if self.is_path else ()
        for each in matches:
            groups[self.base(steps, each)].append(each)
        for group in groups.values():
            expected, must = self.total(group[0])
            if expected is None:
                continue
            total = Decimal(0)
            unfit = None
            for each in group:
                try:
                    total += number(plain(each.value), from_text=self.tree.is_text_only)
                except Unfit as error:
                    unfit = self.violation(
                        each, "be a number to be added up", after=f", not {error}"
                    )
                    break
            if unfit:
                yield unfit
            elif not _SYMBOLS[self.operator.name](total, expected):
                value = f"{total.normalize():f}"
                place = f"the sum of `{self.rule.path}`"
                keys = group[0].keys[:-1]
                yield Violation(keys, place, value, f"is {value}", must)

    @property
    def is_path(self) -> bool:
        return isinstance(self.rule.value, str)

    def total(self, match: Match) -> tuple[Decimal | None, str]:
        """Return the number that a sum is compared with, or None if the document has none."""
        if not self.is_path:
            return Decimal(str(self.rule.value)), self.operator.phrase(self.rule.value)
        for each in self.other(self.rule.value, match):
            try:
                found = number(plain(each.value), from_text=self.tree.is_text_only)
            except Unfit:
                continue
            place = self.tree.shown(each.keys)
            text = self.operator.must.format(f"{place}, which is {self.show(each.value)}")
            return found, text
        return None, ""

    def show(self, value: Any) -> str:
        return shown(plain(value), from_text=self.tree.is_text_only)

    def violation(self, match: Match, must: str, *, after: str = "") -> Violation:
        value = self.show(match.value)
        place = self.tree.shown(match.keys)
        return Violation(match.keys, place, value, f"is {value}{after}", must)


def _exists(root: Any, keys: Keys) -> bool:
    try:
        at(root, keys)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _hashable(each)) for key, each in value.items())
    if isinstance(value, list):
        return tuple(_hashable(each) for each in value)
    return (isinstance(value, bool), value)
