"""PyTorch: tensors, parameters and DTensors, on every device it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import array_api_compat.torch as compat
import torch
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.fusion.memory import fits, repeats
from uniopt.backends.registry import why_unavailable
from uniopt.backends.standard import StandardBackend


def _is_dtensor(x: Any) -> bool:
    return hasattr(x, "placements")  # DTensor's own module is slow to import, so it is not asked by class


# torch's own maximum and minimum take no Python number. array-api-compat's do, but ask torch.result_type, which
# torch.compile cannot trace; so does its where.


def _maximum(x: Any, y: Any) -> Any:
    if isinstance(x, int | float):
        return torch.clamp(y, min=x)
    return torch.clamp(x, min=y) if isinstance(y, int | float) else torch.maximum(x, y)


def _minimum(x: Any, y: Any) -> Any:
    if isinstance(x, int | float):
        return torch.clamp(y, max=x)
    return torch.clamp(x, max=y) if isinstance(y, int | float) else torch.minimum(x, y)


# torch.sign is 0 for NaN. array-api-compat's puts NaN back in place, which neither DTensor nor vmap allows.


def _sign(x: Any) -> Any:
    if x.dtype.is_complex:
        return torch.sgn(x)
    return torch.where(torch.isnan(x), x, torch.sign(x))


# Methods of C, which map calls without a frame of Python's.
_data_ptr, _stride, _is_neg, _is_conj = (
    torch.Tensor.data_ptr, torch.Tensor.stride, torch.Tensor.is_neg, torch.Tensor.is_conj
)  # fmt: skip
_kind = attrgetter("shape", "dtype", "device")

# All names now: under torch.compile, filling the cache at first use would change what the graph was traced with.
for _value in list(vars(torch).values()):
    if isinstance(_value, torch.dtype):
        dtype_name(_value)


class TorchMemory:
    """Tensors in the host's memory, as compiled steps see them."""

    pinned = False  # `parameter.data = other` moves a parameter
    sharded = False

    def holds(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor)

    def out_of_reach(self, x: Any) -> str | None:
        if x.device.type != "cpu":
            reason = why_unavailable("cupy") if x.device.type == "cuda" else None
            return f"a tensor on {x.device}" + (f" ({reason})" if reason else "")
        return None if x.layout == torch.strided else f"a tensor with layout {x.layout}"

    def resolved(self, arrays: list[Any]) -> list[Any]:
        # A tensor may show another's memory conjugated or negated.
        try:
            if not any(map(_is_neg, arrays)) and not any(map(_is_conj, arrays)):
                return arrays
        except TypeError:  # None stands for a missing gradient
            pass
        return [x.resolve_conj().resolve_neg() if isinstance(x, torch.Tensor) else x for x in arrays]

    def untracked(self) -> AbstractContextManager[Any]:
        return torch.no_grad()

    def signatures(self, arrays: list[Any]) -> Any:
        return tuple(zip(map(_kind, arrays), map(_stride, arrays), strict=True))

    def congruent(self, kept: list[Any], given: list[Any], parameters: Mapping[int, int]) -> bool:
        return True

    def shape(self, x: Any) -> tuple[int, ...]:
        return tuple(x.shape)

    whole_shape = shape

    def dtype(self, x: Any) -> str:
        return dtype_name(x.dtype)

    def strides(self, x: Any) -> tuple[int, ...]:
        return tuple(step * x.itemsize for step in x.stride())

    def addresses(self, arrays: list[Any]) -> list[int]:
        return list(map(_data_ptr, arrays))

    def extent(self, x: Any) -> tuple[int, int]:
        start = x.data_ptr()
        last = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
        return (start, start + (last + 1) * x.itemsize) if x.numel() else (start, start)

    def view(self, x: Any) -> Any:
        plain = x.detach()
        return (plain.view(torch.uint16) if x.dtype == torch.bfloat16 else plain).numpy()

    def copy(self, x: Any) -> Any:
        return x.detach().clone()

    def replaces(self, value: Any, x: Any) -> bool:
        return fits(value, x)

    def assign(self, x: Any, value: Any) -> None:
        x.copy_(value)

    def refusal(self, x: Any) -> str | None:
        if x.is_conj() or x.is_neg():
            return "shows the memory of another tensor, conjugated or negated"
        return "has elements that share memory (it was expanded)" if repeats(x.shape, x.stride()) else None

    def watched(self, arrays: list[Any]) -> list[Any]:
        return [x for x in arrays if not x.is_inference()]  # the others have no version

    def written(self, watched: list[Any]) -> None:
        # Writing through an address leaves the version as it was, and autograd would use wrong values silently.
        torch.autograd.graph.increment_version(watched)

    def threads(self) -> int:
        return torch.get_num_threads()


class ShardMemory(TorchMemory):
    """DTensors: each process sees its own shard."""

    sharded = True

    def replaces(self, value: Any, x: Any) -> bool:
        # Nothing is redistributed to partial sums; a slot with them gets another tensor.
        partial = _is_dtensor(x) and any(p.is_partial() for p in x.placements)
        return super().replaces(value, x) and _is_dtensor(value) == _is_dtensor(x) and not partial

    def congruent(self, kept: list[Any], given: list[Any], parameters: Mapping[int, int]) -> bool:
        if any(p.is_partial() for x in (*kept, *given) if _is_dtensor(x) for p in x.placements):
            return False
        if any(x is not None and x.ndim > 0 and i not in parameters for i, x in enumerate(kept)):
            return False
        if any(kept[i] is not None and _placed(kept[i]) != _placed(given[k]) for i, k in parameters.items()):
            return False
        # A slot that is shaped like parameters lies as one of them does.
        places: dict[Any, list[Any]] = {}
        for k in parameters.values():
            places.setdefault(given[k].shape, []).append(_placed(given[k]))
        return all(_placed(x) in places.get(x.shape, [_placed(x)]) for x in given)

    def signatures(self, arrays: list[Any]) -> Any:
        return tuple(zip(super().signatures(list(map(_local, arrays))), map(_placed, arrays), strict=True))

    def whole_shape(self, x: Any) -> tuple[int, ...]:
        return super().shape(x)

    def shape(self, x: Any) -> tuple[int, ...]:
        return super().shape(_local(x))

    def strides(self, x: Any) -> tuple[int, ...]:
        return super().strides(_local(x))

    def addresses(self, arrays: list[Any]) -> list[int]:
        return super().addresses(list(map(_local, arrays)))

    def extent(self, x: Any) -> tuple[int, int]:
        return super().extent(_local(x))

    def view(self, x: Any) -> Any:
        return super().view(_local(x))

    def assign(self, x: Any, value: Any) -> None:
        # copy_ itself does not redistribute whatever cannot be sharded evenly.
        super().assign(x, value.redistribute(x.device_mesh, x.placements) if _is_dtensor(value) else value)

    def watched(self, arrays: list[Any]) -> list[Any]:
        return super().watched([y for x in arrays for y in ((x, x.to_local()) if _is_dtensor(x) else (x,))])


def _placed(x: Any) -> Any:
    """Return which parts of a DTensor each process has; None for a tensor."""
    return (x.device_mesh, x.placements) if _is_dtensor(x) else None


class CudaMemory(TorchMemory):
    """Tensors in the memory of a CUDA device, which CuPy's arrays may show."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def out_of_reach(self, x: Any) -> str | None:
        if x.device != self._device:
            return f"tensors on several devices, {self._device} and {x.device}"
        return None if x.layout == torch.strided else f"a tensor with layout {x.layout}"

    def view(self, x: Any) -> Any:
        from uniopt.backends.cupy import view_of

        return view_of(x.detach().view(torch.int16), "uint16") if x.dtype == torch.bfloat16 else view_of(x.detach())


class CudaShardMemory(ShardMemory, CudaMemory):
    """DTensors on CUDA devices."""


def _local(x: Any) -> Any:
    return x.to_local() if _is_dtensor(x) else x


# torch.compile takes out a cast to fewer bits and back, unless it cannot look inside.


@torch.library.custom_op("uniopt::rounded", mutates_args=(), schema="(Tensor x, ScalarType dtype) -> Tensor")
def _rounded(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x.to(dtype).to(x.dtype)


@_rounded.register_fake
def _(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty_like(x)


class TorchBackend(StandardBackend):
    """PyTorch tensors."""

    name = "torch"
    array_types = ("torch.Tensor",)
    xp = SimpleNamespace(
        **{**vars(compat), "maximum": _maximum, "minimum": _minimum, "sign": _sign, "where": torch.where}
    )

    def version(self) -> str:
        return str(torch.__version__)

    def devices(self) -> list[Any]:
        found = [torch.device("cpu")]
        if torch.accelerator.is_available():
            kind = torch.accelerator.current_accelerator()
            found += [torch.device(kind.type, i) for i in range(torch.accelerator.device_count())]  # type: ignore[union-attr]  # is_available() says that there is one
        return found

    def dtypes(self, device: Any = None) -> dict[str, Any]:
        names = ["float16", "bfloat16", "float32", "complex64"]
        if device is None or torch.device(device).type != "mps":  # Metal has no 64-bit floats
            names += ["float64", "complex128"]
        return {name: getattr(torch, name) for name in names}

    def has_float64(self, like: Any) -> bool:
        return bool(like.device.type != "mps")

    def place(self, x: Any, like: Any) -> Any:
        if _is_dtensor(like) and x.shape == like.shape and x.ndim > 0 and not _is_dtensor(x):
            from torch.distributed.tensor import distribute_tensor

            return distribute_tensor(x, like.device_mesh, like.placements)
        # A plain 0-d tensor meets a DTensor as a replicated one, so scalars are plain, for tensors of both kinds.
        x = x.full_tensor() if x.ndim == 0 and _is_dtensor(x) else x
        return x if x.device == like.device else x.to(like.device)

    def astype(self, x: Any, dtype: Any) -> Any:
        return x if x.dtype == dtype else x.to(dtype)

    def rounded(self, x: Any, dtype: Any) -> Any:
        if x.dtype == dtype:
            return x
        return _rounded(x, dtype) if torch.compiler.is_compiling() else x.to(dtype).to(x.dtype)

    def copy(self, x: Any) -> Any:
        return x.detach().clone()

    def restore(self, x: Any, like: Any, dtype: Any) -> Any:
        result = self.astype(x, dtype)
        if isinstance(like, torch.nn.Parameter) and not torch.is_grad_enabled():
            return torch.nn.Parameter(result, requires_grad=like.requires_grad)
        return result  # with grad mode on it is part of the graph, which a Parameter cannot be

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        return torch.as_tensor(value, dtype=dtype, device=None if like is None else like.device)

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        import numpy as np

        half = dtype_name(x.dtype) == "bfloat16"  # ml_dtypes' bfloat16, which torch cannot read
        host = torch.from_numpy(np.array(x, dtype=np.float32) if half else np.array(x))
        return host.to(device=device, dtype=self.dtype(dtype or dtype_name(x.dtype)))

    def to_numpy(self, x: Any) -> Any:
        host = x.full_tensor() if _is_dtensor(x) else x
        host = host.detach().to("cpu", copy=True)  # which also conjugates or negates what such a view shows
        return (host.float() if host.dtype == torch.bfloat16 else host).numpy()

    def is_traced(self, x: Any) -> bool:
        return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(x)

    def cond(self, predicate: Any, on_true: Callable[[], list[Any]], on_false: Callable[[], list[Any]]) -> list[Any]:
        whole = predicate.full_tensor() if _is_dtensor(predicate) else predicate
        return super().cond(whole, on_true, on_false)

    def compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(f, fullgraph=True)

    def compile_step(
        self, step: Callable[..., list[Any]], *, donate: bool, parameters: Mapping[int, int]
    ) -> Callable[..., list[Any]]:
        from uniopt.backends.fusion.step import FusedStep

        made: dict[Any, Callable[..., list[Any]]] = {}
        known: dict[Any, Callable[..., list[Any]]] = {}

        def make(sharded: bool, device: Any) -> Callable[..., list[Any]]:
            if device is None or device.type != "cuda" or why_unavailable("cupy") is not None:
                memory = ShardMemory() if sharded else TorchMemory()
                return FusedStep(step, memory, donate=donate, parameters=parameters)
            from uniopt.backends.cupy import programs_on, stream_of

            memory = (CudaShardMemory if sharded else CudaMemory)(device)
            program = programs_on(device.index)
            fused = FusedStep(step, memory, donate=donate, parameters=parameters, program=program)

            def on_stream(kept: list[Any], donated: list[Any]) -> list[Any]:
                # torch hands over tensors of its current device only.
                stream = torch.cuda.current_stream(device).cuda_stream
                with torch.cuda.device(device), stream_of(device.index, stream):
                    return fused(kept, donated)

            return on_stream

        def run(kept: list[Any], donated: list[Any]) -> list[Any]:
            first = donated[0] if donated else None
            device = first.device if isinstance(first, torch.Tensor) else None
            types = device, *map(type, kept), *map(type, donated)
            if types not in known:
                key = any(map(_is_dtensor, (*kept, *donated))), device
                if key not in made:
                    made[key] = make(*key)
                known[types] = made[key]
            return known[types](kept, donated)

        return run

    @staticmethod
    def value_and_grad(f: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
        grad_and_value = torch.func.grad_and_value(f)

        def value_first(*args: Any) -> tuple[Any, Any]:
            grad, value = grad_and_value(*args)
            return value, grad

        return value_first
