"""Path templates of google.api.http rules: https://google.aip.dev/127."""

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\{(?P<field>[\w.]+)(?:=(?P<pattern>[^}]+))?\}|(?P<wild>\*\*?)")


class PathTemplate:
    """A compiled path template; fields may be nested (`queue.name`)."""

    def __init__(self, uri: str) -> None:
        self._fields: list[str] = []
        self._regex = re.compile(self._compile(uri))
        # `/jobs/*:run` would be swallowed by `/jobs/*`, so verbs are to be tried first.
        self.has_verb = ":" in uri.rpartition("}")[2]

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the fields that `path` fills, or None if it is not of this shape."""
        found = self._regex.fullmatch(path)
        return None if found is None else dict(zip(self._fields, found.groups(), strict=True))

    def _compile(self, uri: str) -> str:
        parts, end = [], 0
        for token in _TOKEN.finditer(uri):
            parts += [re.escape(uri[end : token.start()]), self._part(token)]
            end = token.end()
        return "".join([*parts, re.escape(uri[end:])])

    def _part(self, token: re.Match[str]) -> str:
        if token["wild"]:
            return _segments(token["wild"])
        self._fields.append(token["field"])
        return f"({_segments(token['pattern'] or '*')})"


def _segments(pattern: str) -> str:
    escaped = re.escape(pattern)
    return escaped.replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
