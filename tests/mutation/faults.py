"""One-token faults: every place in a module's source where one token could be wrong and still be computed with."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType

from tests.mutation.names import Names, mistakable, span
from tests.mutation.slips import slips

OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Pow: ("**", "*"),
    ast.Mod: ("%", "+"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.BitXor: ("^", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
COMPARISONS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Lt: ("<", "<=", ">"),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<"),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
OPPOSITES = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
MISTAKEN = {
    "maximum": "minimum",
    "minimum": "maximum",
    "max": "min",
    "min": "max",
    "sum": "mean",
    "mean": "sum",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "real": "imag",
    "imag": "real",
    "cos": "sin",
    "sin": "cos",
}
LEFT_OUT = {
    "sqrt",
    "abs",
    "sign",
    "log",
    "expm1",
    "tanh",
    "conj",
    "floor",
    "abs_squared",
    "matrix_transpose",
    "average",
    "_adjoint",
}


@dataclass(frozen=True)
class Fault:
    """A module with one token replaced or left out.

    Attributes
    ----------
    module
        The module's file, relative to the package.
    function
        The function that the token is in, with its class; the empty string outside of any.
    line
        The line with the fault, by which it is told from others.
    number
        Which of those with the same line in the same function it is, from 1.
    source
        The whole source with the fault.
    """

    module: str
    function: str
    line: str
    number: int
    source: str

    @property
    def name(self) -> str:
        """Return what tells this fault from all others, wherever in the file its function stands."""
        again = f" ({self.number})" if self.number > 1 else ""
        return f"{self.module}:{self.function}: {self.line}{again}"


def faults(module: str, source: str) -> list[Fault]:
    """Return every fault of a module; `module` is its file, relative to the package.

    What refuses bad input, and what prints, computes no number and is left alone. A backend's refusals are part of what
    it promises, and it has data types and copies in the place of formulas.
    """
    seen: Counter[str] = Counter()
    found = []
    for fault in _Finder(module, source).found():
        seen[fault.name] += 1
        found.append(replace(fault, number=seen[fault.name]))
    return found


class _Finder:
    """Walks a module's syntax tree, and replaces in its text, so that all else stays as it is written."""

    def __init__(self, module: str, source: str) -> None:
        self.module = module
        self.of_a_backend = module.startswith("backends/")
        self.text = source.encode()  # the tree counts bytes
        self.starts = [0]
        for row in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(row))
        self.tree = ast.parse(source)

    def found(self) -> Iterator[Fault]:
        """Yield the faults."""
        for function, node, names in _nodes(self.tree, refusals=self.of_a_backend):
            for first, last, new in self.replacements(node, names):
                text = self.text[:first] + new.encode() + self.text[last:]
                line = text[text.rfind(b"\n", 0, first) + 1 : text.find(b"\n", first + len(new.encode()))]
                shown = " ".join(line.decode().split()) or f"without {self.text[first:last].decode().strip(', ')}"
                yield Fault(self.module, function, shown, 1, text.decode())

    def replacements(self, node: ast.AST, names: Names) -> Iterator[tuple[int, int, str]]:
        """Yield first and last byte and the new text of each fault at a node."""
        if self.of_a_backend:
            yield from ((self.first(node), self.last(node), new) for new in slips(node))
        match node:
            case ast.BinOp():
                old, new = OPERATORS[type(node.op)]
                yield self.between(node.left, node.right, old, new)
            case ast.Compare():
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    old, *others = COMPARISONS[type(op)]
                    yield from (self.between(left, right, old, new) for new in others)
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield self.between(left, right, old, new)
            case ast.UnaryOp():
                yield self.first(node), self.first(node) + (3 if isinstance(node.op, ast.Not) else 1), ""
            case ast.IfExp(test=ast.Compare(ops=[op])) | ast.If(test=ast.Compare(ops=[op])) if type(op) in OPPOSITES:
                pass  # the comparison itself is turned round
            case ast.IfExp() | ast.If():
                yield self.first(node.test), self.last(node.test), f"not ({self.of(node.test)})"
            case ast.Constant():
                yield from ((self.first(node), self.last(node), new) for new in _other_values(node.value))
            case ast.Call():
                yield from self.of_call(node)
            case ast.Name() | ast.Attribute():
                if isinstance(node, ast.Attribute) and node.attr in MISTAKEN:
                    yield self.last(node) - len(node.attr), self.last(node), MISTAKEN[node.attr]
                yield from ((self.first(node), self.last(node), new) for new in names.get(span(node), []))

    def of_call(self, call: ast.Call) -> Iterator[tuple[int, int, str]]:
        """Yield another function, none at all, other branches, and a missing argument."""
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name in MISTAKEN and isinstance(call.func, ast.Name):
            yield self.first(call.func), self.last(call.func), MISTAKEN[name]
        if name in LEFT_OUT:
            yield self.first(call), self.last(call), f"({self.of(call.args[-1])})"
        if name == "where" and len(call.args) == 3:
            _, x, y = call.args
            yield self.first(x), self.last(y), f"{self.of(y)}, {self.of(x)}"
        for keyword in call.keywords:
            if keyword.arg not in (None, "strict", "at_least", "below"):
                yield self.first(keyword), self.after_comma(self.last(keyword)), ""
        match call.args:
            case [*_, ast.Starred() | ast.Constant(value=str())]:
                pass  # a name in an error
            case [*_, before, argument] if not call.keywords and name != "where":
                yield self.last(before), self.last(argument), ""

    def between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> tuple[int, int, str]:
        """Return the replacement of an operator."""
        first, last = self.last(left), self.first(right)
        at = first + self.text[first:last].index(old.encode())
        return at, at + len(old), new

    def after_comma(self, position: int) -> int:
        """Return where the next argument begins, if one does."""
        comma = re.compile(rb"\s*, *").match(self.text, position)
        return comma.end() if comma else position

    def of(self, node: ast.expr) -> str:
        """Return the text of a node."""
        return self.text[self.first(node) : self.last(node)].decode()

    def first(self, node: ast.expr | ast.keyword) -> int:
        """Return where the text of a node begins."""
        return self.starts[node.lineno - 1] + node.col_offset

    def last(self, node: ast.expr | ast.keyword) -> int:
        """Return where the text of a node ends."""
        return self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)


def _nodes(
    node: ast.AST,
    function: str = "",
    names: Names = MappingProxyType({}),
    within: bool = False,
    *,
    refusals: bool = False,
) -> Iterator[tuple[str, ast.AST, Names]]:
    """Yield the nodes that compute, each with its function and the names that could be mistaken there."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.JoinedStr():
            return
        case ast.If(body=[*_, ast.Raise()], orelse=[]) if not refusals:
            return
        case ast.FunctionDef(name="__repr__" | "__eq__" | "__hash__"):
            return
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case ast.keyword(arg="strict" | "at_least" | "below"):  # of zip, and of what may be given: guards
            return
        case ast.FunctionDef() | ast.ClassDef():
            names = mistakable(node) if isinstance(node, ast.FunctionDef) else names
            if not within:  # a function in a function is run with it
                function, within = f"{function}.{node.name}".removeprefix("."), isinstance(node, ast.FunctionDef)
    yield function, node, names
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "keywords") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child, function, names, within, refusals=refusals)


def _other_values(value: object) -> list[str]:
    """Return what a constant could be mistaken for."""
    if isinstance(value, bool):
        return [repr(not value)]
    if isinstance(value, int):
        return [str(value + 1)]
    if isinstance(value, float):  # a rate stays below 1
        return [repr(1.0 if value == 0.0 else value / 2 if value < 1.0 else value * 2)]
    return []
