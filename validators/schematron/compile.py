"""Compiler from ISO Schematron (ISO/IEC 19757-3:2020) to XSLT 3 that writes a report in SVRL.

Every pattern of the phase becomes a mode, every rule a template of its mode, and every assertion a
condition that is evaluated on its own, so that an error in one leaves the others. Elements carry the
line of the schema that they were made from, in an attribute that XSLT ignores.
"""

import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import NoReturn

from lxml import etree

from validators.schematron.document import line_of, words_of

SCH = "http://purl.oclc.org/dsdl/schematron"
XSL = "http://www.w3.org/1999/XSL/Transform"
SVRL = "http://purl.oclc.org/dsdl/svrl"
OWN = "urn:validibot:schematron"
"""Namespace of what the stylesheet says beside SVRL: lines, and assertions that have no value."""

BINDINGS = ("xslt", "xslt1", "xslt2", "xslt3", "xpath", "xpath2", "xpath3")
_COMPATIBLE = ("xslt", "xslt1", "xpath")  # evaluated by the rules of XPath 1.0
_REASON = "$Q{http://www.w3.org/2005/xqt-errors}description"
_MAX_RULES = 20_000
_MAX_EXTENDS = 20
_MAX_CHARACTERS = 16 << 20
_INSTRUCTION = 100
_COPIED = (f"{{{XSL}}}function", f"{{{XSL}}}key", f"{{{XSL}}}variable")
_SUBSTITUTED = ("context", "test", "select", "value", "path", "subject", "match", "use")


class SchemaInvalid(Exception):
    """The schema cannot be compiled. The message says why, `line` where."""

    def __init__(self, text: str, *, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class CompiledRules:
    """Stylesheet in one text, with what the report says of the schema."""

    stylesheet: bytes
    binding: str
    phase: str

    def schema_line(self, line: int) -> int | None:
        """Return the line of the schema from which the stylesheet's `line` was made."""
        found = None
        for element in etree.fromstring(self.stylesheet).iter(etree.Element):
            if (line_of(element) or 0) > line:
                break
            found = element.get(f"{{{OWN}}}line", found)
        return int(found) if found else None


def compile_schema(text: str) -> CompiledRules:
    """Return the stylesheet of a schema's default phase. Raises SchemaInvalid."""
    try:
        return _Compiler(_parse(text)).compile()
    except ValueError as error:  # lxml refuses a prefix or a text that XML does not allow
        raise SchemaInvalid(f"{error}.") from None


def _parse(text: str) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        # As bytes, so that an encoding that the text declares does not matter.
        root = etree.fromstring(re.sub(r"^\s*<\?xml.*?\?>", "", text, count=1).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise SchemaInvalid(f"The schema is not XML: {error.msg}.", line=error.lineno) from None
    if root.tag != f"{{{SCH}}}schema":
        text = f"The root element is {root.tag}; it must be `schema` of the namespace {SCH}."
        raise SchemaInvalid(text, line=line_of(root))
    return root


class _Compiler:
    """Compilation of one schema."""

    def __init__(self, schema: etree._Element) -> None:
        self._schema = schema
        self._characters = 0
        self._refuse_other_files()
        self._abstract_rules = _by_id(schema.iter(_sch("rule")))
        self._diagnostics = _by_id(schema.iter(_sch("diagnostic")))
        self._patterns = [self._instance(each) for each in schema.findall(_sch("pattern"))]
        self._rules = 0

    def compile(self) -> CompiledRules:
        schema = self._schema
        binding = schema.get("queryBinding", "xslt").lower()
        if binding not in BINDINGS:
            text = f"The query binding {binding!r} is not available; use one of: {', '.join(BINDINGS)}."
            raise SchemaInvalid(text, line=line_of(schema))
        phase, active = self._active_patterns()
        self._version = "1.0" if binding in _COMPATIBLE else "3.0"
        root = etree.Element(_xsl("transform"), nsmap=self._namespaces())
        root.set("version", "3.0")
        root.set("expand-text", "no")
        for element in schema.iterchildren(*_COPIED):
            root.append(_copied(element))
        self._global_variables(root, phase, active)
        self._start(root, phase, active)
        for number, pattern in enumerate(active):
            self._pattern(root, pattern, mode=f"p{number}")
        return CompiledRules(
            stylesheet=etree.tostring(root, encoding="utf-8"), binding=binding, phase=phase
        )

    def _spend(self, characters: int) -> None:
        """Count what is written: parts of a schema that repeat parts could multiply it."""
        self._characters += characters
        if self._characters > _MAX_CHARACTERS:
            text = (
                f"The rules would have more than {_MAX_CHARACTERS >> 20} million characters. "
                "Repeat abstract rules, abstract patterns and diagnostics less often."
            )
            raise SchemaInvalid(text)

    def _refuse_other_files(self) -> None:
        for element in self._schema.iter(_sch("include"), _sch("extends"), _sch("pattern")):
            name = "documents" if element.tag == _sch("pattern") else "href"
            if reference := element.get(name):
                text = (
                    f"`{etree.QName(element).localname}` refers to {reference[:200]!r}: other files are not read. "
                    "Put the text into the schema."
                )
                raise SchemaInvalid(text, line=line_of(element))

    def _namespaces(self) -> dict[str, str]:
        namespaces: dict[str, str] = {
            prefix: uri
            for prefix, uri in self._schema.nsmap.items()
            if prefix and uri not in (SCH, SVRL, OWN)
        }
        for element in self._schema.findall(_sch("ns")):
            namespaces[_required(element, "prefix")] = _required(element, "uri")
        for prefix, uri in (("xsl", XSL), ("svrl", SVRL), ("validibot", OWN)):
            if namespaces.setdefault(prefix, uri) != uri:
                text = f"The prefix {prefix!r} belongs to {uri}; choose another one for yours."
                raise SchemaInvalid(text, line=line_of(self._schema))
        return namespaces

    def _instance(self, pattern: etree._Element) -> etree._Element:
        """Return a pattern with the rules of the abstract pattern that it is an instance of."""
        name = pattern.get("is-a")
        if name is None:
            return pattern
        sources = _by_id(self._schema.findall(_sch("pattern")))
        if name not in sources or sources[name].get("abstract") != "true":
            _unknown("abstract pattern", name, pattern)
        values = {_required(p, "name"): _required(p, "value") for p in pattern.iter(_sch("param"))}
        names = "|".join(re.escape(each) for each in sorted(values, key=len, reverse=True))
        found = re.compile(rf"\$({names or '(?!)'})(?![\w.-])")
        self._spend(len(etree.tostring(sources[name])))
        made = deepcopy(sources[name])
        del made.attrib["abstract"], made.attrib["id"]
        if name := pattern.get("id"):
            made.set("id", name)
        for element in made.iter(etree.Element):
            for key in _SUBSTITUTED:
                if value := element.get(key):
                    self._spend(sum(len(values[each]) for each in found.findall(value)))
                    element.set(key, found.sub(lambda match: values[match[1]], value))
        return made

    def _active_patterns(self) -> tuple[str, list[etree._Element]]:
        patterns = [each for each in self._patterns if each.get("abstract") != "true"]
        phase = self._schema.get("defaultPhase", "#ALL")
        if phase == "#ALL":
            return phase, patterns
        phases = _by_id(self._schema.findall(_sch("phase")))
        if phase not in phases:
            known = ", ".join(phases) or "none"
            text = f"The schema has no phase {phase!r}; it has: {known}."
            raise SchemaInvalid(text, line=line_of(self._schema))
        by_id = _by_id(patterns)
        active = []
        for element in phases[phase].findall(_sch("active")):
            name = _required(element, "pattern")
            if name not in by_id:
                _unknown("pattern", name, element)
            active.append(by_id[name])
        return phase, active

    def _global_variables(
        self, root: etree._Element, phase: str, active: list[etree._Element]
    ) -> None:
        """Add the variables of schema, phase and patterns: each name may have one value."""
        owners = [self._schema, *active]
        owners += [p for p in self._schema.findall(_sch("phase")) if p.get("id") == phase]
        values: dict[str, str | None] = {}
        for let in [each for owner in owners for each in owner.findall(_sch("let"))]:
            name, value = _required(let, "name"), let.get("value")
            if name in values:
                if value is not None and values[name] == value:
                    continue
                text = f"The variable {name!r} is defined twice; rename one of them."
                raise SchemaInvalid(text, line=line_of(let))
            values[name] = value
            self._variable(root, let)

    def _variable(self, parent: etree._Element, let: etree._Element) -> None:
        variable = self._add(parent, "variable", let, name=_required(let, "name"))
        if (kind := let.get("as")) is not None:
            variable.set("as", kind)
        if (value := let.get("value")) is not None:
            variable.set("select", value)
            variable.set("version", self._version)
        else:
            variable.text = let.text
            variable.extend(deepcopy(child) for child in let)

    def _start(self, root: etree._Element, phase: str, active: list[etree._Element]) -> None:
        template = self._add(root, "template", self._schema, match="/")
        output = _svrl(template, "schematron-output", phase=phase)
        title = self._schema.find(_sch("title"))
        if title is not None:
            _attribute(output, "title", words_of(title))
        for number, pattern in enumerate(active):
            made = _svrl(output, "active-pattern")
            if name := pattern.get("id"):
                _attribute(made, "id", name)
            self._add(output, "apply-templates", pattern, select="/", mode=f"p{number}")

    def _pattern(self, root: etree._Element, pattern: etree._Element, *, mode: str) -> None:
        """Add the templates of a pattern: of the rules that fit a node, the first one counts."""
        self._add(root, "mode", pattern, name=mode).set("on-no-match", "shallow-skip")
        rules = [r for r in pattern.findall(_sch("rule")) if r.get("abstract") != "true"]
        self._rules += len(rules)
        if self._rules > _MAX_RULES:
            raise SchemaInvalid(f"The schema has more than {_MAX_RULES} rules.")
        for number, rule in enumerate(rules):
            context = _required(rule, "context")
            template = self._add(root, "template", rule, match=context, mode=mode)
            template.set("priority", str(len(rules) - number))
            fired = _svrl(template, "fired-rule")
            _attribute(fired, "context", context)
            attempt = self._add(template, "try", rule)
            for child in self._content(rule, depth=0):
                if child.tag == _sch("let"):
                    self._variable(attempt, child)
                else:
                    self._assertion(attempt, child, rule)
            self._catch(attempt, rule, rule, test=context)
            self._add(template, "apply-templates", rule, select="@*, node()", mode=mode)

    def _content(self, rule: etree._Element, *, depth: int) -> Iterator[etree._Element]:
        """Yield variables and assertions of a rule, those of the rules that it extends included."""
        if depth > _MAX_EXTENDS:
            text = f"The rules extend each other more than {_MAX_EXTENDS} deep."
            raise SchemaInvalid(text, line=line_of(rule))
        for child in rule.iterchildren(
            _sch("let"), _sch("assert"), _sch("report"), _sch("extends")
        ):
            if child.tag != _sch("extends"):
                yield child
                continue
            name = _required(child, "rule")
            if name not in self._abstract_rules:
                _unknown("abstract rule", name, child)
            yield from self._content(self._abstract_rules[name], depth=depth + 1)

    def _assertion(
        self, template: etree._Element, assertion: etree._Element, rule: etree._Element
    ) -> None:
        test = _required(assertion, "test")
        fails = assertion.tag == _sch("assert")
        subject = assertion.get("subject") or rule.get("subject")
        location = f"path(head((({subject}), .)))" if subject else "path(.)"
        attempt = self._add(template, "try", assertion)
        condition = self._add(attempt, "if", assertion, test=f"not({test})" if fails else test)
        condition.set("version", self._version)
        output = _svrl(condition, "failed-assert" if fails else "successful-report")
        self._describe(output, assertion, rule, location=location, test=test)
        self._text(_svrl(output, "text"), assertion)
        for name in assertion.get("diagnostics", "").split():
            if name not in self._diagnostics:
                _unknown("diagnostic", name, assertion)
            reference = _svrl(output, "diagnostic-reference", diagnostic=name)
            self._text(_svrl(reference, "text"), self._diagnostics[name])
        self._catch(attempt, assertion, rule, test=test)

    def _catch(
        self, attempt: etree._Element, source: etree._Element, rule: etree._Element, *, test: str
    ) -> None:
        """Report an assertion, or the variables of a rule, that have no value for a node."""
        caught = self._add(attempt, "catch", source, errors="*")
        broken = etree.SubElement(caught, f"{{{OWN}}}broken")
        self._describe(broken, source, rule, location="path(.)", test=test)
        _attribute(broken, "line", str(line_of(source)))
        self._add(broken, "value-of", source, select=_REASON)

    def _describe(
        self,
        output: etree._Element,
        assertion: etree._Element,
        rule: etree._Element,
        *,
        location: str,
        test: str,
    ) -> None:
        """Add the attributes of a finding; flag and role of the rule count where it has neither."""
        owner = assertion if assertion.get("flag") or assertion.get("role") else rule
        made = self._add(output, "attribute", assertion, name="location", select=location)
        made.set("version", "3.0")
        for name, value in (
            ("test", test),
            ("id", assertion.get("id")),
            ("flag", owner.get("flag")),
            ("role", owner.get("role")),
        ):
            if value:
                _attribute(output, name, value)

    def _text(self, target: etree._Element, source: etree._Element) -> None:
        """Add the text of a message, with its values."""
        self._spend(len(source.text or "") + len(source.tail or ""))
        _append_text(target, source.text)
        for child in source:
            if child.tag in (_sch("value-of"), f"{{{XSL}}}value-of"):
                select = _required(child, "select")
                self._add(target, "value-of", child, select=select, separator=" ")
            elif child.tag == _sch("name"):
                made = self._add(
                    target, "value-of", child, select=f"name({child.get('path', '.')})"
                )
                made.set("version", self._version)
            elif isinstance(child.tag, str):
                self._text(target, child)
            _append_text(target, child.tail)

    def _add(
        self, parent: etree._Element, name: str, source: etree._Element, /, **attributes: str
    ) -> etree._Element:
        """Add an instruction that was made from `source`, on a line of its own."""
        self._spend(_INSTRUCTION + sum(map(len, attributes.values())))
        made = etree.SubElement(parent, _xsl(name), attributes)
        made.set(f"{{{OWN}}}line", str(line_of(source) or 0))
        if parent.tag in (_xsl("transform"), _xsl("template"), _xsl("try"), _xsl("catch")):
            made.tail = "\n"
        return made


def _sch(name: str) -> str:
    return f"{{{SCH}}}{name}"


def _xsl(name: str) -> str:
    return f"{{{XSL}}}{name}"


def _svrl(parent: etree._Element, name: str, /, **attributes: str) -> etree._Element:
    made = etree.SubElement(parent, f"{{{SVRL}}}{name}")
    for key, value in attributes.items():
        _attribute(made, key, value)
    return made


def _attribute(parent: etree._Element, name: str, value: str) -> None:
    """Add an attribute with a fixed value; in an attribute of its own braces would be code."""
    made = etree.SubElement(parent, _xsl("attribute"), name=name)
    etree.SubElement(made, _xsl("text")).text = value


def _append_text(target: etree._Element, text: str | None) -> None:
    if text:
        etree.SubElement(target, _xsl("text")).text = text


def _copied(element: etree._Element) -> etree._Element:
    made = deepcopy(element)
    for each in made.iter(etree.Element):
        if each.tag.startswith(f"{{{XSL}}}"):
            each.set(f"{{{OWN}}}line", str(line_of(each)))
    made.tail = "\n"
    return made


def _required(element: etree._Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        text = f"`{etree.QName(element).localname}` has no attribute `{name}`."
        raise SchemaInvalid(text, line=line_of(element))
    return value


def _by_id(elements: Iterable[etree._Element]) -> dict[str, etree._Element]:
    return {name: each for each in elements if (name := each.get("id"))}


def _unknown(kind: str, name: str, element: etree._Element) -> NoReturn:
    raise SchemaInvalid(f"The schema has no {kind} {name!r}.", line=line_of(element))
