"""A recording as a graph of torch's functions, which torch.compile makes kernels of, on any device that torch has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from uniopt.backends.fusion.functions import ELEMENTWISE, result_type
from uniopt.backends.fusion.gathered import NEUTRAL
from uniopt.backends.fusion.layout import Strides
from uniopt.backends.fusion.memory import Memory
from uniopt.backends.fusion.schedule import Schedule
from uniopt.backends.fusion.separate import NO_PARTS, Parts
from uniopt.backends.fusion.symbol import NotRecordable, Symbol

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]

_NAMES = {
    "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
    "bitwise_invert": "bitwise_not", "power": "pow",
}  # fmt: skip
_AS_THEY_ARE = {"abs", "real", "imag", "isnan", "isinf", "isfinite", "signbit"}
"""The functions of one array whose result is of another dtype."""
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}


def compiled(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors, compiled for the shapes that it will be called with."""
    # Otherwise a bfloat16 result that is read again is not rounded in between, as it is in memory.
    return torch.compile(f, fullgraph=True, dynamic=False, options={"emulate_precision_casts": True})


class GraphProgram:
    """Called with the inputs' tensors, it writes the outputs into their targets among them.

    The graph writes by itself, so that the kernels that compute a result store it where it belongs. It is a module with
    code of its own: torch.compile counts how often it has compiled a piece of code, and stops at eight.

    Parameters
    ----------
    schedule
        What to run; torch's compiler makes its own plan of it.
    inputs
        The symbols that the tensors stand for, in their order, and the tensors' strides.
    memory
        How the tensors lie in memory.
    parts
        The parts that can be skipped: what they compute is written elsewhere then, and gathered by nothing.
    xp
        torch as an Array API namespace.
    device
        Where the tensors are.
    compile
        What makes a program of the graph.
    """

    def __init__(
        self,
        schedule: Schedule,
        inputs: Mapping[Symbol, Strides],
        memory: Memory,
        parts: Parts | None,
        *,
        xp: Any,
        device: torch.device,
        compile: Compile = compiled,
    ) -> None:
        self._memory = memory
        self.separable = parts is not None
        self._parts = parts = parts or NO_PARTS
        position = {symbol: i for i, symbol in enumerate(inputs)}
        self._written_by = {position[g]: [position[x] for x in xs] for g, xs in parts.targets.items()}
        self._gathers = bool(parts.gathered)
        self._device = device
        order = {g: k for k, g in enumerate(parts.targets)}
        graph = _Graph(xp, device)
        present = graph.placeholder("present") if self._gathers else None
        read = {symbol for symbol in schedule.needed if symbol.op == "input"} | {out.target for out in schedule.outputs}
        self._used = [i for i, symbol in enumerate(inputs) if symbol in read]
        self._outlines = [(symbol, strides) for symbol, strides in inputs.items()]
        for symbol in inputs:
            if symbol in read:
                graph.read(symbol)
        for symbol in schedule.needed:
            for x, gradient in parts.gathered.get(symbol, {}).items():
                is_there = graph.call(torch.Tensor.__getitem__, present, order[gradient])
                graph.nodes[x] = graph.choice(is_there, x, NEUTRAL[symbol.op])
            if symbol.op != "input":
                graph.compute(symbol)
        # All before anything is written: a result may be an input, or a view of one.
        values = [graph.call(torch.clone, graph.nodes[out.symbol]) for out in schedule.outputs]
        for out, value in zip(schedule.outputs, values, strict=True):
            graph.call(torch.Tensor.copy_, graph.nodes[out.target], value)
        self._run = compile(graph.function())

    def serves(self, missing: frozenset[int]) -> bool:
        return not missing or self._parts.serve(len(missing))

    def __call__(
        self, arrays: Sequence[Any], addresses: list[int], threads: int, missing: frozenset[int] = frozenset()
    ) -> None:
        """Run on these tensors; something of the same shape stands among them for a missing gradient."""
        with self._memory.untracked():
            elsewhere = {i: torch.empty_like(arrays[i]) for g in missing for i in self._written_by[g]}
            elsewhere |= {g: self._like(g) for g in missing}  # there is one graph for each dtype, shape and strides
            # Detached, tensors that require gradients are like the others, and have the same graph.
            tensors = [elsewhere[i] if i in elsewhere else arrays[i].detach() for i in self._used]
            if self._gathers:
                is_there = [g not in missing for g in self._written_by]
                tensors.insert(0, torch.tensor(is_there, device=self._device))
            try:
                self._run(*tensors)
            except torch._dynamo.exc.TorchDynamoException as error:  # it was not compiled, so that nothing has run
                raise NotRecordable(f"torch.compile failed ({_reason(error)})") from None

    def _like(self, i: int) -> torch.Tensor:
        """Return a tensor like an input's, with whatever is in its memory."""
        symbol, strides = self._outlines[i]
        dtype = getattr(torch, symbol.dtype)
        steps = [step // dtype.itemsize for step in strides]
        return torch.empty_strided(symbol.shape, steps, dtype=dtype, device=self._device)


class _Graph:
    """A graph of calls of torch's functions, one for each symbol."""

    def __init__(self, xp: Any, device: torch.device) -> None:
        self._xp = xp
        self._device = device
        self._graph = torch.fx.Graph()
        self.nodes: dict[Symbol, torch.fx.Node] = {}

    def read(self, symbol: Symbol) -> None:
        """Add an input."""
        self.nodes[symbol] = self.placeholder(f"x{symbol.index}")

    def placeholder(self, name: str) -> torch.fx.Node:
        """Add an input that is no symbol."""
        return self._graph.placeholder(name)

    def choice(self, condition: torch.fx.Node, x: Symbol, otherwise: float) -> torch.fx.Node:
        """Return a number under a condition, and another one without."""
        return self.call(torch.where, condition, self.nodes[x], self._full((), otherwise, x.dtype))

    def call(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> torch.fx.Node:
        """Add a call, and return the node that stands for its result."""
        return self._graph.call_function(function, args, keywords)

    def compute(self, symbol: Symbol) -> None:
        """Add what computes a symbol; its arguments are there."""
        self.nodes[symbol] = self._elementwise(symbol) if symbol.op in ELEMENTWISE else self._other(symbol)

    def function(self) -> Callable[..., Any]:
        """Return the graph as a function of its inputs, in their order."""
        self._graph.output(())
        return torch.fx.GraphModule(torch.nn.Module(), self._graph).forward

    def _elementwise(self, symbol: Symbol) -> torch.fx.Node:
        op, args = symbol.op, symbol.args
        if op == "astype":
            return self._cast(self.nodes[args[0]], symbol.dtype)
        if op == "where":
            condition, *values = args
            return self.call(torch.where, self._operand(condition, "bool"), *self._operands(values, symbol.dtype))
        if op in _AS_THEY_ARE:
            operands = [self.nodes[args[0]]]
        elif op in ("pow", "power"):  # torch has other functions for some numbers, such as a square root for 0.5
            operands = [self._operand(x, symbol.dtype) if isinstance(x, Symbol) else x for x in args]
        elif op in _COMPARISONS:
            operands = self._operands(args, result_type(*args))
        else:
            operands = self._operands(args, symbol.dtype)
        # torch.sign is 0 for NaN, the namespace's is not.
        return self.call(self._xp.sign if op == "sign" else getattr(torch, _NAMES.get(op, op)), *operands)

    def _operands(self, args: Sequence[Any], dtype: str) -> list[torch.fx.Node]:
        return [self._operand(x, dtype) for x in args]

    def _operand(self, x: Any, dtype: str) -> torch.fx.Node:
        """Return a symbol's node, or one for a number, in the dtype in which an operation computes."""
        if not isinstance(x, Symbol):
            return self._full((), x, dtype)
        return self.nodes[x] if x.dtype == dtype else self._cast(self.nodes[x], dtype)

    def _cast(self, node: torch.fx.Node, dtype: str) -> torch.fx.Node:
        return self.call(torch.Tensor.to, node, getattr(torch, dtype))

    def _full(self, shape: tuple[int, ...], value: Any, dtype: str) -> torch.fx.Node:
        return self.call(torch.full, shape, value, dtype=getattr(torch, dtype), device=self._device)

    def _other(self, symbol: Symbol) -> torch.fx.Node:
        op, args = symbol.op, symbol.args
        made_here = {"dtype": getattr(torch, symbol.dtype), "device": self._device}
        if op == "constant":
            return self._full(symbol.shape, args[0], symbol.dtype)
        if op == "asarray":
            return self.call(torch.tensor, args[0], **made_here)
        if op == "arange":
            return self.call(torch.reshape, self.call(torch.arange, *args, **made_here), symbol.shape)
        if op == "getitem":
            return self._getitem(*args)
        function = getattr(self._xp, op, None)
        if function is None:
            raise NotRecordable(f"{op}, which the library does not have,")
        keywords = {key: getattr(torch, x) if key == "dtype" else x for key, x in symbol.keywords}
        if op in ("eye", "linspace"):
            keywords |= made_here
        return self.call(function, *map(self._value, args), **keywords)

    def _value(self, x: Any) -> Any:
        """Return an argument as a function takes it."""
        if isinstance(x, tuple):
            return tuple(map(self._value, x))
        return self.nodes[x] if isinstance(x, Symbol) else x

    def _getitem(self, x: Symbol, frozen: tuple[Any, ...]) -> torch.fx.Node:
        key = tuple(slice(*part[1:]) if isinstance(part, tuple) else part for part in frozen)
        node = self.nodes[x]
        backwards = [part for part in key if isinstance(part, slice) and (part.step or 1) < 0]
        if backwards:  # torch has no such steps, but turns whole axes round
            if not all(part == slice(None) or part == slice(None, None, -1) for part in key):
                raise NotRecordable("a slice with a negative step, which torch does not have,")
            axes = tuple(axis for axis, part in enumerate(key) if part in backwards)
            return self.call(torch.flip, node, axes)
        return self.call(torch.Tensor.__getitem__, node, key)


def _reason(error: BaseException) -> str:
    """Return what a compiler says, in a line."""
    inner = getattr(error, "inner_exception", error)
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[0] if lines else ''}"
