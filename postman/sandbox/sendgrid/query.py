"""The query language of SendGrid's two look-ups: conditions joined by AND, without nesting."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Condition", "QueryError", "matches", "read_query"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<argument>[A-Za-z_]+\[(?:'[^']*'|"[^"]*")\])
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)


class QueryError(ValueError):
    """The query cannot be read; the text is what SendGrid answers."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. *key* is set where an argument is chosen: ``unique_args['mail_id']``."""

    field: str
    operator: str
    values: tuple[str, ...]
    key: str | None = None


def read_query(query: str, allowed: Mapping[str, frozenset[str]]) -> tuple[Condition, ...]:
    """Read *query*; *allowed* maps each known field to its operators. An empty query has no conditions."""
    reader = _Reader(query)
    found: list[Condition] = []
    while not reader.at_end:
        if found:
            reader.expect("AND")
        found.append(_condition(reader, allowed))
    return tuple(found)


class _Reader:
    def __init__(self, query: str) -> None:
        self._tokens = [token for token in _tokens(query) if token[1] not in ("(", ")", ",")]
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place >= len(self._tokens)

    def take(self) -> tuple[str, str]:
        if self.at_end:
            raise QueryError("invalid syntax: unexpected end of query")
        self._place += 1
        return self._tokens[self._place - 1]

    def expect(self, word: str) -> None:
        _, text = self.take()
        if text.upper() != word:
            raise QueryError(f"invalid syntax: expected {word}, not '{text}'")

    def values(self) -> Iterator[str]:
        while not self.at_end and self._tokens[self._place][0] in ("text", "number"):
            yield self.value()

    def value(self) -> str:
        kind, text = self.take()
        if kind == "word" and text.upper() == "TIMESTAMP":
            kind, text = self.take()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind != "number":
            raise QueryError(f"invalid syntax: '{text}' is not a value")
        return text


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    place, end = 0, len(query.rstrip())
    while place < end:
        match = _TOKEN.match(query, place)
        if match is None or match.lastgroup is None:
            raise QueryError("invalid syntax: query cannot be read")
        yield match.lastgroup, match[match.lastgroup]
        place = match.end()


def _condition(reader: _Reader, allowed: Mapping[str, frozenset[str]]) -> Condition:
    kind, text = reader.take()
    field, _, rest = text.partition("[")
    if kind not in ("word", "argument") or field not in allowed:
        raise QueryError(f"invalid syntax: '{field}' is not a known field")
    operator = reader.take()[1].upper()
    if operator not in allowed[field]:
        raise QueryError(f"invalid syntax: '{operator}' is not an operator of '{field}'")
    return Condition(field, operator, _values(reader, operator), rest[1:-2] if rest else None)


def _values(reader: _Reader, operator: str) -> tuple[str, ...]:
    if operator == "IN":
        return tuple(reader.values())
    first = reader.value()
    if operator != "BETWEEN":
        return (first,)
    reader.expect("AND")
    return (first, reader.value())


def matches(condition: Condition, actual: str) -> bool:
    """Whether *actual* fulfils *condition*. Times compare as text, since all are written alike."""
    first = condition.values[0] if condition.values else ""
    match condition.operator:
        case "IN":
            return actual in condition.values
        case "LIKE":
            return re.fullmatch(".*".join(map(re.escape, first.split("%"))), actual, re.DOTALL) is not None
        case "BETWEEN":
            return first <= actual <= condition.values[1]
        case "!=":
            return actual != first
        case _:
            return _compare(condition.operator, actual, first)


def _compare(sign: str, actual: str, wanted: str) -> bool:
    if sign == "=":
        return actual == wanted
    if sign in ("<", "<="):
        return actual < wanted or (sign == "<=" and actual == wanted)
    return actual > wanted or (sign == ">=" and actual == wanted)
