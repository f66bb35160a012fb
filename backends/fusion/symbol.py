"""Symbolic arrays: what a rule is given in place of arrays, so that its operations are written down.

A `Symbol` stands for the array that an operation will return. Rules run on symbols as they run on any library's arrays;
what they leave behind is a graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from uniopt.backends.errors import UnioptError

if TYPE_CHECKING:
    from uniopt.backends.fusion.recording import Recording

Shape = tuple[int, ...]


class NotRecordable(UnioptError, TypeError):
    """An operation needs values, or is of a kind, that a recording does not have."""


class Symbol:
    """The result of one recorded operation.

    Attributes
    ----------
    op
        The standard's name of the function, or ``"input"``, ``"constant"``.
    args
        Symbols, Python numbers, and what else the function takes.
    keywords
        Further arguments of the function, as pairs.
    shape, dtype
        As of an array; the dtype is its standard name.
    index
        Position in the recording; arguments come before results.
    """

    __slots__ = ("args", "dtype", "index", "keywords", "op", "recording", "shape")
    __uniopt_backend__: Any = None  # set in uniopt.backends.fusion.recorder

    def __init__(
        self,
        recording: Recording,
        index: int,
        op: str,
        args: tuple[Any, ...],
        keywords: tuple[tuple[str, Any], ...],
        shape: Shape,
        dtype: str,
    ) -> None:
        self.recording = recording
        self.index = index
        self.op = op
        self.args = args
        self.keywords = keywords
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def mT(self) -> Any:
        return self._xp.matrix_transpose(self)

    @property
    def T(self) -> Any:
        return self._xp.matrix_transpose(self)

    @property
    def _xp(self) -> Any:
        return type(self).__uniopt_backend__.xp

    def __repr__(self) -> str:
        return f"Symbol({self.op}, shape={self.shape}, dtype={self.dtype})"

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self._xp

    def __getitem__(self, key: Any) -> Symbol:
        return self._xp.getitem(self, key)  # type: ignore[no-any-return]  # a namespace has no types

    def __pos__(self) -> Symbol:
        return self

    # What needs values cannot be recorded. Numbers and identities of arrays are values too.

    def _values(self, what: str) -> NoReturn:
        raise NotRecordable(f"{what} needs the values of an array")

    def __bool__(self) -> bool:  # noqa: PLE0304  # it only raises
        self._values("a Python branch (bool)")

    def __float__(self) -> float:
        self._values("float()")

    def __int__(self) -> int:
        self._values("int()")

    def __complex__(self) -> complex:
        self._values("complex()")

    def __index__(self) -> int:  # noqa: PLE0305  # it only raises
        self._values("an index")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        name = _UFUNCS.get(ufunc.__name__) if method == "__call__" and not keywords else None
        if name is None:
            raise NotRecordable(f"numpy.{ufunc.__name__} is no function of the namespace that the rule was given")
        return getattr(self._xp, name)(*inputs)  # an operator with a NumPy array on its left

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self._values("a NumPy function")

    def __iter__(self) -> Iterator[Symbol]:
        if not self.shape:
            self._values("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol that is asked for and may be missing
            raise AttributeError(name)
        raise NotRecordable(f"the attribute .{name} of an array is outside the standard, or needs values")

    def item(self) -> NoReturn:
        self._values(".item()")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise NotRecordable("writing into an array (x[...] = y) cannot be recorded")

    def to_device(self, device: Any, /, *, stream: Any = None) -> Symbol:
        return self


def _binary(name: str) -> tuple[Any, Any]:
    def forward(self: Symbol, other: Any) -> Any:
        return getattr(self._xp, name)(self, other)

    def reflected(self: Symbol, other: Any) -> Any:
        return getattr(self._xp, name)(other, self)

    return forward, reflected


_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
_COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}  # fmt: skip
_OTHER_NAMES = {"bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift"}
_UFUNCS = {_OTHER_NAMES.get(name, name): name for name in (*_BINARY.values(), *_COMPARISONS.values())}
for _method, _function in _BINARY.items():
    _forward, _reflected = _binary(_function)
    setattr(Symbol, f"__{_method}__", _forward)
    setattr(Symbol, f"__r{_method}__", _reflected)
for _method, _function in _COMPARISONS.items():
    setattr(Symbol, f"__{_method}__", _binary(_function)[0])
for _method, _function in {"neg": "negative", "abs": "abs", "invert": "bitwise_invert"}.items():
    setattr(Symbol, f"__{_method}__", lambda self, _name=_function: getattr(self._xp, _name)(self))
Symbol.__hash__ = object.__hash__  # type: ignore[method-assign]  # == compares elements


def identity(x: Any, number: Callable[[Symbol], int]) -> Any:
    """Return what tells arguments apart: 1, 1.0 and True are different ones, and so are 0.0 and -0.0."""
    if isinstance(x, Symbol):
        return number(x)
    if isinstance(x, list | tuple):
        return tuple([identity(y, number) for y in x])
    return type(x), repr(x)


def symbols_in(args: Iterable[object]) -> Iterator[Symbol]:
    """Yield the symbols among the arguments of an operation, which may stand in tuples."""
    for x in args:
        if isinstance(x, Symbol):
            yield x
        elif isinstance(x, tuple):
            yield from symbols_in(x)


def users(symbols: Iterable[Symbol]) -> Mapping[Symbol, list[Symbol]]:
    """Return, for each symbol, those among some symbols that have it as an argument."""
    found: dict[Symbol, list[Symbol]] = defaultdict(list)
    for symbol in symbols:
        for x in symbols_in(symbol.args):
            found[x].append(symbol)
    return found
