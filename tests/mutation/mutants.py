"""Small mistakes that a programmer might make, one at a time, planted into a module's source.

Each is a piece of text to be put in place of another, found by the syntax tree and applied to the source itself, so
that a survivor can be shown as a diff. What cannot matter is left alone: docstrings, annotations, `__all__`, log lines
and texts.
"""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import pairwise
from typing import Final

__all__ = ["Mutant", "mutants_of"]

_COMPARISONS: Final = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
_ARITHMETIC: Final = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
}
_NAMES: Final = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "OutcomeUnknownError": "ProviderDownError",
    "ProviderDownError": "OutcomeUnknownError",
    "MailRejectedError": "RouteRefusedError",
    "RouteRefusedError": "MailRejectedError",
    "ProviderUnreachableError": "ProviderDownError",
    "ThrottledError": "ProviderDownError",
    "CredentialsError": "RouteRefusedError",
    "QuotaExceededError": "ThrottledError",
}
_LOGGERS: Final = frozenset({"_LOG"})
_UNMUTATED: Final = frozenset({"__all__", "_LOG"})


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: *new* stands in place of the bytes from *start* up to *end*."""

    start: int
    end: int
    new: str
    what: str
    where: str
    """The function, class or constant that it is in; dotted."""

    def applied_to(self, source: str) -> str:
        raw = source.encode()
        return (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()

    def diff(self, source: str, name: str) -> str:
        """Return the lines that differ, as a diff without context."""
        lines = unified_diff(source.splitlines(), self.applied_to(source).splitlines(), name, name, lineterm="", n=0)
        return "\n".join(list(lines)[2:])


def mutants_of(source: str, *, only: Collection[str] = ()) -> list[Mutant]:
    """Return the mutants of *source* that can be compiled; only those inside the names *only*, where any is given."""
    found = {(each.start, each.end, each.new): each for each in _Walk(source).all()}
    ordered = sorted(found.values(), key=lambda each: (each.start, each.end, each.new))
    wanted = [each for each in ordered if not only or _is_within(each.where, only)]
    return [each for each in wanted if _compiles(each.applied_to(source))]


def _is_within(where: str, names: Collection[str]) -> bool:
    return any(where == name or where.startswith(f"{name}.") for name in names)


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


class _Walk:
    """Goes through one module's tree."""

    def __init__(self, source: str) -> None:
        self._raw = source.encode()
        self._tree = ast.parse(source)
        self._line_starts = [0]
        for line in self._raw.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def all(self) -> Iterator[Mutant]:
        yield from self._visit(self._tree, "")

    def _visit(self, node: ast.AST, where: str) -> Iterator[Mutant]:
        name = _name_of(node)
        if name in _UNMUTATED or _is_unnoticed(node) or isinstance(node, ast.JoinedStr):
            return
        where = f"{where}.{name}".lstrip(".") if name else where
        yield from self._mutate(node, where)
        for child in _children(node):
            yield from self._visit(child, where)

    def _mutate(self, node: ast.AST, where: str) -> Iterator[Mutant]:
        yield from self._operators(node, where)
        yield from self._conditions(node, where)
        match node:
            case ast.Constant(value):
                yield from self._constant(node, value, where)
            case ast.Name(name, ast.Load()) if name in _NAMES:
                yield self._put(node, _NAMES[name], "name", where)
            case ast.Call(_, _, keywords) if keywords:
                yield from self._without_keywords(node, where)
            case ast.Tuple(elements) if "." not in where and any(isinstance(each, ast.Call) for each in elements):
                for row in elements:
                    yield self._drop(row, "row", where)
            case ast.stmt():
                yield from self._statement(node, where)

    def _operators(self, node: ast.AST, where: str) -> Iterator[Mutant]:
        match node:
            case ast.Compare(left, operators, rights):
                for (before, after), operator in zip(pairwise([left, *rights]), operators, strict=True):
                    yield from self._between(before, after, _COMPARISONS[type(operator)], "comparison", where)
            case ast.BoolOp(operator, values):
                words = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
                for before, after in pairwise(values):
                    yield from self._between(before, after, words, "boolean", where)
            case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
                yield from self._between(left, right, _ARITHMETIC[type(operator)], "arithmetic", where)
            case ast.UnaryOp(ast.Not(), operand):
                yield self._put(node, self._text(operand), "not", where)

    def _conditions(self, node: ast.AST, where: str) -> Iterator[Mutant]:
        match node:
            case (
                ast.If(test=test)
                | ast.IfExp(test=test)
                | ast.While(test=test)
                | ast.match_case(guard=ast.expr() as test)
            ):
                yield from self._negated(test, where)
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield from self._negated(test, where)

    def _statement(self, node: ast.stmt, where: str) -> Iterator[Mutant]:
        match node:
            case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant) or value.value is not None:
                yield self._put(value, "None", "return", where)
            case ast.AugAssign(target, ast.Add() | ast.Sub() as operator, value):
                old = f"{_ARITHMETIC[type(operator)][0]}="
                yield from self._between(target, value, (old, "-=" if old == "+=" else "+="), "arithmetic", where)
                yield self._put(node, "pass", "statement", where)
            case ast.Expr(ast.Call() | ast.Await()) | ast.Raise() | ast.Break() | ast.Continue() | ast.Delete():
                yield self._put(node, "pass", "statement", where)
            case ast.Assign([ast.Attribute() | ast.Subscript()]):
                yield self._put(node, "pass", "statement", where)

    def _constant(self, node: ast.expr, value: object, where: str) -> Iterator[Mutant]:
        match value:
            case bool():
                yield self._put(node, str(not value), "constant", where)
            case int() | float():
                yield self._put(node, repr(value + 1), "constant", where)

    def _negated(self, test: ast.expr, where: str) -> Iterator[Mutant]:
        if not isinstance(test, ast.Compare) or len(test.ops) > 1:
            yield self._put(test, f"not ({self._text(test)})", "condition", where)

    def _without_keywords(self, call: ast.Call, where: str) -> Iterator[Mutant]:
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield self._drop(keyword, "argument", where)

    def _between(
        self, before: ast.expr, after: ast.expr, change: tuple[str, str], what: str, where: str
    ) -> Iterator[Mutant]:
        start, end = self._span(before)[1], self._span(after)[0]
        gap = self._raw[start:end].decode()
        old, new = change
        at = gap.find(old)
        if at >= 0:
            first = start + len(gap[:at].encode())
            yield Mutant(first, first + len(old), new, what, where)

    def _drop(self, node: ast.expr | ast.keyword, what: str, where: str) -> Mutant:
        """Leave the node out, and the comma that follows it."""
        start, end = self._span(node)
        rest = self._raw[end:]
        blank = len(rest) - len(rest.lstrip())
        comma = blank + 1 if rest[blank : blank + 1] == b"," else 0
        return Mutant(start, end + comma, "", what, where)

    def _put(self, node: ast.expr | ast.stmt, new: str, what: str, where: str) -> Mutant:
        start, end = self._span(node)
        return Mutant(start, end, new, what, where)

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._raw[start:end].decode()

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._line_starts[node.lineno - 1] + node.col_offset
        return start, self._line_starts[node.end_lineno - 1] + node.end_col_offset


def _name_of(node: ast.AST) -> str:
    match node:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return name
        case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
            return name if node.col_offset == 0 else ""
    return ""


def _is_unnoticed(node: ast.AST) -> bool:
    """Whether no test can tell what stands there: log lines, what types are made of, the unreachable."""
    match node:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name)))):
            return name in _LOGGERS
        case ast.Call(ast.Name("TypeVar")):
            return True
        case ast.Raise(ast.Call(ast.Name("AssertionError"))):
            return True
    return False


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Return what may be mutated inside *node*: neither annotations nor decorators."""
    skipped: list[object] = []
    for field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
        value = getattr(node, field, None)
        skipped.extend(value if isinstance(value, list) else [value])
    for child in ast.iter_child_nodes(node):
        if not any(child is each for each in skipped):
            yield child
