"""torch's tensors and DTensors, as compiled steps see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import Any

import torch
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.fusion.memory import extent, fits, repeats
from uniopt.backends.registry import why_unavailable

try:
    # What torch's compiler looks at its inputs with: one call for all that is otherwise asked of each tensor, such as
    # dtype, device, layout, shape, strides, and whether it shows others' memory conjugated or negated.
    from torch._C._dynamo import guards

    _Guards: Any = guards.TensorGuards
except (ImportError, AttributeError):
    _Guards = None

# Methods of C, which map calls without a frame of Python's.
_data_ptr, _stride, _is_neg, _is_conj = (
    torch.Tensor.data_ptr, torch.Tensor.stride, torch.Tensor.is_neg, torch.Tensor.is_conj
)  # fmt: skip
_shape, _dtype, _device, _is_cpu = map(attrgetter, ("shape", "dtype", "device", "is_cpu"))


def is_dtensor(x: Any) -> bool:
    return hasattr(x, "placements")  # DTensor's own module is slow to import, so it is not asked by class


class TorchMemory:
    """Tensors in the host's memory, as compiled steps see them."""

    sharded = False
    has_float64 = True
    _where = staticmethod(_is_cpu)  # to ask for the device takes longer

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
        where = map(self._where, arrays)
        return (*map(_shape, arrays), *map(_stride, arrays), *map(_dtype, arrays), *where)

    def guard(self, arrays: list[Any]) -> Callable[[list[Any]], bool] | None:
        if _Guards is None or not all(isinstance(x, torch.Tensor) for x in arrays):
            return None
        sizes, strides = [list(x.shape) for x in arrays], [list(x.stride()) for x in arrays]
        check: Callable[..., bool] = _Guards(*arrays, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check
        return lambda arrays: check(*arrays)

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

    def places(self, arrays: list[Any]) -> Any:
        # `parameter.data = other` moves a parameter. No other device has the same addresses, so it is not asked for.
        return [*map(_data_ptr, arrays), *map(_shape, arrays), *map(_stride, arrays), *map(_dtype, arrays)]

    def extent(self, x: Any) -> tuple[int, int]:
        start = x.data_ptr()
        last = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
        return (start, start + (last + 1) * x.itemsize) if x.numel() else (start, start)

    def view(self, x: Any) -> Any:
        plain = x.detach()
        return (plain.view(torch.uint16) if x.dtype == torch.bfloat16 else plain).numpy()

    def repeated(self, x: Any, n: int) -> Any:
        return x.detach().expand(n, *x.shape)

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

    def guard(self, arrays: list[Any]) -> None:
        return None  # of shards it knows nothing

    def replaces(self, value: Any, x: Any) -> bool:
        # Nothing is redistributed to partial sums; a slot with them gets another tensor.
        partial = is_dtensor(x) and any(p.is_partial() for p in x.placements)
        return super().replaces(value, x) and is_dtensor(value) == is_dtensor(x) and not partial

    def congruent(self, kept: list[Any], given: list[Any], parameters: Mapping[int, int]) -> bool:
        if any(p.is_partial() for x in (*kept, *given) if is_dtensor(x) for p in x.placements):
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
        return (*super().signatures(list(map(_local, arrays))), *map(_placed, arrays))

    def whole_shape(self, x: Any) -> tuple[int, ...]:
        return super().shape(x)

    def shape(self, x: Any) -> tuple[int, ...]:
        return super().shape(_local(x))

    def strides(self, x: Any) -> tuple[int, ...]:
        return super().strides(_local(x))

    def addresses(self, arrays: list[Any]) -> list[int]:
        return super().addresses(list(map(_local, arrays)))

    def places(self, arrays: list[Any]) -> Any:
        return super().places(list(map(_local, arrays))), list(map(_placed, arrays))

    def extent(self, x: Any) -> tuple[int, int]:
        return super().extent(_local(x))

    def view(self, x: Any) -> Any:
        return super().view(_local(x))

    def assign(self, x: Any, value: Any) -> None:
        # copy_ itself does not redistribute whatever cannot be sharded evenly.
        super().assign(x, value.redistribute(x.device_mesh, x.placements) if is_dtensor(value) else value)

    def watched(self, arrays: list[Any]) -> list[Any]:
        return super().watched([y for x in arrays for y in ((x, x.to_local()) if is_dtensor(x) else (x,))])


def _placed(x: Any) -> Any:
    """Return which parts of a DTensor each process has; None for a tensor."""
    return (x.device_mesh, x.placements) if is_dtensor(x) else None


class DeviceMemory(TorchMemory):
    """Tensors on one device, which is not the host."""

    _where = staticmethod(_device)

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def out_of_reach(self, x: Any) -> str | None:
        if x.device != self._device:
            return f"tensors on several devices, {self._device} and {x.device}"
        return None if x.layout == torch.strided else f"a tensor with layout {x.layout}"


class CudaMemory(DeviceMemory):
    """Tensors in the memory of a CUDA device, which CuPy's arrays may show."""

    def view(self, x: Any) -> Any:
        from uniopt.backends.cupy import view_of

        return view_of(x.detach().view(torch.int16), "uint16") if x.dtype == torch.bfloat16 else view_of(x.detach())


class CudaShardMemory(ShardMemory, CudaMemory):
    """DTensors on CUDA devices."""


_APART = 1 << 40  # bytes: more than a storage has


class MetalMemory(DeviceMemory):
    """Tensors on Apple's GPU, where `data_ptr` is the address of an object that stands for the memory.

    What lies where is told by storages: each is given addresses of its own.
    """

    has_float64 = False

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._starts: dict[int, int] = {}

    def addresses(self, arrays: list[Any]) -> list[int]:
        return list(map(self._address, arrays))

    def extent(self, x: Any) -> tuple[int, int]:
        return extent(self._address(x), tuple(x.shape), self.strides(x), x.itemsize)

    def _address(self, x: Any) -> int:
        start = self._starts.setdefault(x.untyped_storage().data_ptr(), _APART * len(self._starts))
        return start + int(x.storage_offset() * x.itemsize)


def _local(x: Any) -> Any:
    return x.to_local() if is_dtensor(x) else x
