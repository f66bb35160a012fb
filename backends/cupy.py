"""CuPy: NumPy's interface on CUDA devices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from threading import get_ident
from typing import Any, NamedTuple

import array_api_compat.cupy as xp
import cupy
import numpy as np
from cupy.cuda import nvrtc
from uniopt.backends.dtypes import dtype_name
from uniopt.backends.fusion import cache as disk
from uniopt.backends.fusion.cuda import OPTIONS, THREADS
from uniopt.backends.fusion.device import DeviceProgram
from uniopt.backends.fusion.memory import extent, fits, repeats
from uniopt.backends.numpy_dtypes import NumpyDtypes


class CupyMemory:
    """Arrays in the memory of one device, as compiled steps see them."""

    sharded = False
    has_float64 = True

    def __init__(self, device: Any) -> None:
        self._device = device

    def holds(self, x: Any) -> bool:
        return isinstance(x, cupy.ndarray)

    def out_of_reach(self, x: Any) -> str | None:
        if not isinstance(x, cupy.ndarray):
            return f"an array of type {type(x).__name__} among CuPy's"
        return None if x.device == self._device else f"arrays on several devices, {self._device} and {x.device}"

    def resolved(self, arrays: list[Any]) -> list[Any]:
        return arrays

    def untracked(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def guard(self, arrays: list[Any]) -> None:
        return None

    def signatures(self, arrays: list[Any]) -> Any:
        return tuple([(x.shape, x.strides, x.dtype) for x in arrays])

    def congruent(self, kept: list[Any], given: list[Any], parameters: Mapping[int, int]) -> bool:
        return True

    def shape(self, x: Any) -> tuple[int, ...]:
        return tuple(x.shape)

    whole_shape = shape

    def dtype(self, x: Any) -> str:
        return dtype_name(x.dtype)

    def strides(self, x: Any) -> tuple[int, ...]:
        return tuple(x.strides)

    def addresses(self, arrays: list[Any]) -> list[int]:
        return [x.data.ptr for x in arrays]

    def places(self, arrays: list[Any]) -> None:
        return None

    def extent(self, x: Any) -> tuple[int, int]:
        return extent(x.data.ptr, x.shape, x.strides, x.itemsize)

    def view(self, x: Any) -> Any:
        return x.view(cupy.uint16) if dtype_name(x.dtype) == "bfloat16" else x

    def repeated(self, x: Any, n: int) -> Any:
        return cupy.broadcast_to(x, (n, *x.shape))

    def copy(self, x: Any) -> Any:
        return x.copy(order="K")

    def replaces(self, value: Any, x: Any) -> bool:
        return fits(value, x)

    def assign(self, x: Any, value: Any) -> None:
        x[...] = value

    def refusal(self, x: Any) -> str | None:
        return "has elements that share memory (it was broadcast)" if repeats(x.shape, x.strides) else None

    def watched(self, arrays: list[Any]) -> list[Any]:
        return []

    def written(self, watched: list[Any]) -> None:
        pass

    def threads(self) -> int:
        return 1


class CupyDevice:
    """A CUDA device, for programs; the one that is current when they run."""

    def __init__(self) -> None:
        self.xp: Any = xp
        self._loaded: dict[str, Callable[[int, int, int], None]] = {}

    def load(self, source: str) -> Callable[[int, int, int], None]:
        if source not in self._loaded:
            self._loaded[source] = _function(source)
        return self._loaded[source]

    def empty(self, size: int) -> Any:
        return cupy.empty(size, dtype=cupy.uint8)

    def upload(self, x: np.ndarray[Any, Any]) -> Any:
        return cupy.array(x)  # by way of page-locked memory, without waiting

    def address(self, x: Any) -> int:
        return int(x.data.ptr)

    def queue(self) -> tuple[int, int]:
        return int(cupy.cuda.get_current_stream().ptr), get_ident()  # every thread has a default stream of its own


@cache
def programs_on(index: int) -> partial[DeviceProgram]:
    """Return what makes programs for the device of that number, which keep the kernels that are loaded on it."""
    return partial(DeviceProgram, device=CupyDevice())


def _function(source: str) -> Callable[[int, int, int], None]:
    """Return a kernel, loaded on the current device."""
    capability = cupy.cuda.Device().compute_capability
    key = hashlib.sha256(repr((source, OPTIONS, nvrtc.getVersion(), capability)).encode()).hexdigest()
    code = disk.read(key)
    if code is None:
        code = translate(source, capability).code
        disk.write(key, code)
    module = cupy.cuda.function.Module()
    module.load(code)
    function = module.get_function("kernel")

    def launch(blocks: int, table: int, chunks: int) -> None:
        function((blocks,), (THREADS,), (np.int64(table), np.int64(chunks)))

    return launch


class Translation(NamedTuple):
    """What the compiler makes of a kernel: code that can be loaded, the PTX that it is made of, and its remarks."""

    code: bytes
    ptx: str
    log: str


def translate(source: str, capability: str) -> Translation:
    """Return a kernel compiled for a compute capability such as ``"90"``. No device is needed.

    For a capability that the compiler does not know yet the code is PTX, for the last one that it knows. CuPy's own
    compilation is of no use here: it has subnormal numbers flushed to zero.
    """
    known = max(arch for arch in nvrtc.getSupportedArchs() if arch <= int(capability))
    exact = known == int(capability)
    program = nvrtc.createProgram(source, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={'sm' if exact else 'compute'}_{known}"))
        ptx = nvrtc.getPTX(program)
        return Translation(
            nvrtc.getCUBIN(program) if exact else ptx, ptx.decode(), nvrtc.getProgramLog(program).strip("\0\n")
        )
    except nvrtc.NVRTCError as error:
        raise RuntimeError(
            f"A kernel does not compile for compute capability {capability}: {error}\n"
            f"{nvrtc.getProgramLog(program)}\n{source}"
        ) from error
    finally:
        nvrtc.destroyProgram(program)


class _Stream:
    """Another library's stream, in the form that CuPy takes."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer


@contextmanager
def stream_of(index: int, pointer: int) -> Iterator[None]:
    """Make a device and a stream of another library's the current ones."""
    with cupy.cuda.Device(index), cupy.cuda.Stream.from_external(_Stream(pointer)):
        yield


def view_of(x: Any, dtype: str | None = None) -> Any:
    """Return another library's array as one of CuPy's that shares its memory, its bits read as a dtype."""
    found = cupy.from_dlpack(x)
    return found if dtype is None else found.view(dtype)


class CupyBackend(NumpyDtypes):
    """CuPy arrays, on one or several CUDA devices."""

    name = "cupy"
    array_types = ("cupy.ndarray",)
    namespace = "array_api_compat.cupy"

    def why_unavailable(self) -> str | None:
        # `import cupy` succeeds without a driver; the first array does not.
        return None if cupy.cuda.is_available() else "no CUDA device: cupy.cuda.is_available() is False"

    def version(self) -> str:
        return str(cupy.__version__)

    def devices(self) -> list[Any]:
        return [cupy.cuda.Device(i) for i in range(cupy.cuda.runtime.getDeviceCount())]

    def place(self, x: Any, like: Any) -> Any:
        if x.device == like.device:
            return x
        with like.device:
            return cupy.asarray(x)

    def has_float64(self, like: Any) -> bool:
        return True

    def asarray(self, value: Any, dtype: Any = None, like: Any = None) -> Any:
        with cupy.cuda.Device() if like is None else like.device:
            return cupy.asarray(value, dtype=dtype)

    def from_numpy(self, x: Any, dtype: str | None = None, device: Any = None) -> Any:
        with device or cupy.cuda.Device():
            return cupy.array(x, dtype=self.dtype(dtype) if dtype else None)

    def to_numpy(self, x: Any) -> Any:
        host = x.astype("float32") if dtype_name(x.dtype) == "bfloat16" else x
        return cupy.asnumpy(host)

    def compile_step(
        self, step: Callable[..., list[Any]], *, donate: bool, parameters: Mapping[int, int]
    ) -> Callable[..., list[Any]]:
        from uniopt.backends.fusion.step import FusedStep

        fused: dict[int, FusedStep] = {}

        def run(kept: list[Any], donated: list[Any]) -> list[Any]:
            arrays = (x for x in (*donated, *kept) if isinstance(x, cupy.ndarray))
            device = next((x.device for x in arrays), cupy.cuda.Device())
            if device.id not in fused:
                memory, program = CupyMemory(device), programs_on(device.id)
                fused[device.id] = FusedStep(step, memory, donate=donate, parameters=parameters, program=program)
            with device:
                return fused[device.id](kept, donated)

        return run
