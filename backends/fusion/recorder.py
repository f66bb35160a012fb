"""The backend of symbols, through which uniopt's rules are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uniopt.backends.fusion.functions import operand
from uniopt.backends.fusion.namespace import Namespace
from uniopt.backends.fusion.recording import current
from uniopt.backends.fusion.symbol import Symbol
from uniopt.backends.standard import StandardBackend


class Recorder(StandardBackend):
    """Symbolic arrays. Every device is one place: a program runs where its leaves are."""

    name = "recorder"
    array_types = ("uniopt.backends.fusion.symbol.Symbol",)
    xp = Namespace()

    def version(self) -> str:
        return "0"

    def devices(self) -> list[Any]:
        return ["cpu"]

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        names = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
        return {name: name for name in names}

    def colocated(self, x: Any, y: Any) -> bool:
        return True

    def accepts(self, other: Any) -> bool:
        return True  # the arrays of the library that is recorded

    def place(self, x: Any, like: Any) -> Any:
        return operand(x)

    def has_float64(self, like: Any) -> bool:
        return current().has_float64

    def astype(self, x: Any, dtype: Any) -> Any:
        x = operand(x)
        if x.shape == () and x.dtype == dtype and x.op not in ("input", "astype"):
            # NumPy's backend makes a 0-d array of a scalar here, and their powers differ.
            return current().record("astype", (x,), (), (), dtype)
        return self.xp.astype(x, dtype)

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        return self.xp.asarray(value, dtype=dtype)

    def cond(self, predicate: Any, on_true: Callable[[], list[Any]], on_false: Callable[[], list[Any]]) -> list[Any]:
        taken = current().decide(operand(predicate))
        if taken is None:
            return self.select(predicate, on_true, on_false)
        return on_true() if taken else on_false()

    def to_numpy(self, x: Any) -> Any:
        x._values("to_numpy")

    def is_traced(self, x: Any) -> bool:
        return True


RECORDER = Recorder()
Symbol.__uniopt_backend__ = RECORDER
