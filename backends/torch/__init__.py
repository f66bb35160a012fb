"""PyTorch: tensors, parameters and DTensors, on every device it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import array_api_compat.torch as compat
import torch
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.registry import why_unavailable
from uniopt.backends.standard import StandardBackend
from uniopt.backends.torch.memory import (
    CudaMemory,
    CudaShardMemory,
    DeviceMemory,
    MetalMemory,
    ShardMemory,
    TorchMemory,
    is_dtensor,
)

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


# torch.sign is 0 for NaN. array-api-compat's puts NaN back by a mask, which neither DTensor nor vmap allows. The larger
# of the sign and what is -1 at most is the sign, and NaN where that is; in place it takes half the time of isnan and
# where.


def _sign(x: Any) -> Any:
    if x.dtype.is_complex:
        return torch.sgn(x)
    return torch.sign(x).clamp_min_(torch.clamp(x, max=-1))


# All names now: under torch.compile, filling the cache at first use would change what the graph was traced with.
for _value in list(vars(torch).values()):
    if isinstance(_value, torch.dtype):
        dtype_name(_value)


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
        if is_dtensor(like) and x.shape == like.shape and x.ndim > 0 and not is_dtensor(x):
            from torch.distributed.tensor import distribute_tensor

            return distribute_tensor(x, like.device_mesh, like.placements)
        # A plain 0-d tensor meets a DTensor as a replicated one, so scalars are plain, for tensors of both kinds.
        x = x.full_tensor() if x.ndim == 0 and is_dtensor(x) else x
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
        host = x.full_tensor() if is_dtensor(x) else x
        host = host.detach().to("cpu", copy=True)  # which also conjugates or negates what such a view shows
        return (host.float() if host.dtype == torch.bfloat16 else host).numpy()

    def is_traced(self, x: Any) -> bool:
        return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(x)

    def cond(self, predicate: Any, on_true: Callable[[], list[Any]], on_false: Callable[[], list[Any]]) -> list[Any]:
        whole = predicate.full_tensor() if is_dtensor(predicate) else predicate
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
            with_cupy = device is not None and device.type == "cuda" and why_unavailable("cupy") is None
            if not with_cupy and (sharded or device is None or device.type in ("cpu", "meta")):
                memory = ShardMemory() if sharded else TorchMemory()
                return FusedStep(step, memory, donate=donate, parameters=parameters)
            if not with_cupy:
                from uniopt.backends.torch.graph import GraphProgram

                memory = (MetalMemory if device.type == "mps" else DeviceMemory)(device)
                graph = partial(GraphProgram, xp=self.xp, device=device)
                return FusedStep(step, memory, donate=donate, parameters=parameters, program=graph)
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

        latest: FusedStep | None = None

        def run(kept: list[Any], donated: list[Any]) -> list[Any]:
            nonlocal latest
            if latest is not None and (results := latest.again(kept, donated)) is not None:
                return results
            first = donated[0] if donated else None
            device = first.device if isinstance(first, torch.Tensor) else None
            types = device, *map(type, kept), *map(type, donated)
            if types not in known:
                key = any(map(is_dtensor, (*kept, *donated))), device
                if key not in made:
                    made[key] = make(*key)
                known[types] = made[key]
            found = known[types]
            latest = found if isinstance(found, FusedStep) else None
            return found(kept, donated)

        return run

    @staticmethod
    def value_and_grad(f: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
        grad_and_value = torch.func.grad_and_value(f)

        def value_first(*args: Any) -> tuple[Any, Any]:
            grad, value = grad_and_value(*args)
            return value, grad

        return value_first
