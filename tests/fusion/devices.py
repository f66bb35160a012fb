"""Devices for programs where there is none: kernels compiled for the host, or noted only."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from uniopt.backends.fusion.cuda import THREADS
from uniopt.backends.fusion.cuda_arithmetic import TRANSCENDENTAL
from uniopt.backends.fusion.device import DeviceProgram
from uniopt.backends.fusion.memory import NumpyMemory, address
from uniopt.backends.fusion.step import FusedStep
from uniopt.backends.numpy import NumpyBackend

COMPILER = "g++"
# No fast-math, no contraction; an address is read as elements of several types, as on a device.
OPTIONS = ("-O1", "-ffp-contract=off", "-fno-fast-math", "-fno-strict-aliasing", "-fwrapv", "-shared", "-fPIC", "-w")


def require_compiler() -> None:
    """Skip where there is no compiler for the host."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"NOT RUN: {COMPILER}, which compiles the kernels for the host, is not on the PATH")


class Noting:
    """A device whose kernels do nothing; it keeps their sources, and counts launches and uploads."""

    xp: Any = xp

    def __init__(self) -> None:
        self.sources: dict[str, None] = {}
        self.launches = self.uploads = 0
        self.number = 0  # of the queue

    def load(self, source: str) -> Callable[[int, int, int], None]:
        self.sources[source] = None

        def launch(blocks: int, table: int, chunks: int) -> None:
            self.launches += 1
            self.run(source, blocks, table, chunks)

        return launch

    def run(self, source: str, blocks: int, table: int, chunks: int) -> None:
        """Run a kernel."""

    def empty(self, size: int) -> Any:
        return np.full(size, 0xAB, dtype=np.uint8)  # what nobody has written is wrong

    def upload(self, x: Any) -> Any:
        self.uploads += 1
        return x.copy()

    def address(self, x: Any) -> int:
        return address(x)

    def queue(self) -> int:
        return self.number


class Host(Noting):
    """A device whose kernels run on the host.

    Parameters
    ----------
    backwards
        Whether blocks, and threads between two barriers, run in the reverse order.
    """

    def __init__(self, *, backwards: bool = False) -> None:
        super().__init__()
        self.backwards = backwards

    def run(self, source: str, blocks: int, table: int, chunks: int) -> None:
        if source not in _compiled:
            compile_for_host(self.sources)
        run, kernel = _compiled[source]
        failed = run(kernel, "__syncthreads()" in source, blocks, THREADS, table, chunks, self.backwards)
        assert not failed, f"threads of one block do not meet at the same barriers:\n{source}"


_compiled: dict[str, tuple[Any, Any]] = {}
"""For each source the function that runs kernels, and the kernel."""


def compile_for_host(sources: Iterable[str]) -> None:
    """Compile kernels together, those that have not been: one by one takes several times as long."""
    sources = [source for source in sources if source not in _compiled]
    text = [f'#include "{Path(__file__).with_name("cuda_on_host.h")}"', "namespace device {"]
    text += [f"FUNCTION({i}, {name})" for i, name in enumerate(TRANSCENDENTAL)]
    for i, source in enumerate(sources):
        text += [f"#define kernel kernel_{i}", f"namespace source_{i} {{", source, "}", "#undef kernel"]
    with TemporaryDirectory() as folder:
        path = Path(folder, "kernels.cpp")
        path.write_text("\n".join([*text, "}"]))
        library = path.with_suffix(".so")
        run = subprocess.run([COMPILER, *OPTIONS, path, "-o", library], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        loaded = ctypes.CDLL(str(library))
    ctypes.c_void_p.in_dll(loaded, "function").value = ctypes.cast(_function, ctypes.c_void_p).value
    pointer, number = ctypes.c_void_p, ctypes.c_int
    loaded.launch.argtypes = pointer, ctypes.c_bool, number, number, pointer, pointer, ctypes.c_bool
    for i, source in enumerate(sources):
        _compiled[source] = loaded.launch, ctypes.cast(getattr(loaded, f"kernel_{i}"), pointer)


@ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.c_double, ctypes.c_double)
def _function(i: int, x: float, y: float) -> float:
    """Return NumPy's result of the function with that number: of float64, and of float32 for negative ones."""
    kind, name = (np.float64, TRANSCENDENTAL[i]) if i >= 0 else (np.float32, TRANSCENDENTAL[-1 - i])
    args = (x, y) if name in ("pow", "hypot", "atan2") else (x,)
    return float(getattr(xp, name)(*map(kind, args)))


@contextmanager
def numpy_on(device: Noting) -> Iterator[None]:
    """Run NumPy's compiled steps on a device: those that are called for the first time in this context."""

    def compile_step(
        self: Any, step: Callable[..., list[Any]], *, donate: bool, parameters: Mapping[int, int]
    ) -> FusedStep:
        program = functools.partial(DeviceProgram, device=device)
        return FusedStep(step, NumpyMemory(), donate=donate, parameters=parameters, program=program)

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):  # devices warn of no overflow
        patch.setattr(NumpyBackend, "compile_step", compile_step)
        yield
