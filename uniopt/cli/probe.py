"""What one array library can do here, found out by trying."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from uniopt import backends
from uniopt.backends import Backend
from uniopt.backends.device_names import device_name
from uniopt.backends.dtypes import dtype_name, real_dtype
from uniopt.cli.present import default_device, unavailable

# The smallest power of two that each dtype can add to 1 without losing it: a narrower one shows at once.
_LAST_BIT = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
DTYPES = (*_LAST_BIT, "complex64", "complex128")


class Device(NamedTuple):
    """One device of a library."""

    name: str
    computes_in: list[str]
    refuses: dict[str, str]  # dtype: why


class Compiler(NamedTuple):
    """A compiler that uniopt can use with a library."""

    name: str
    found: bool
    detail: str  # its version, or what is wrong


class Library(NamedTuple):
    """What was found out about one library."""

    name: str
    version: str | None
    problem: str | None  # why it cannot run here
    devices: list[Device]
    compilers: list[Compiler]


def examine(name: str) -> Library:
    """Return what the library can do here, whatever state its installation is in."""
    problem = unavailable(name)
    try:
        backend = backends.get(name)
    except Exception:  # `problem` says what it was
        return Library(name, None, problem, [], [])
    try:
        version = backend.version()
        devices = [] if problem else [_try_device(backend, device) for device in backend.devices()]
    except Exception as error:  # shown as the reason why this library cannot run
        return Library(name, None, problem or _words(error), [], [])
    return Library(name, version, problem, devices, _compilers(backend, usable=problem is None))


def _try_device(backend: Backend, device: Any) -> Device:
    tried = {dtype: _why_not(backend, device, dtype) for dtype in DTYPES}
    return Device(
        device_name(device),
        [dtype for dtype, reason in tried.items() if reason is None],
        {dtype: reason for dtype, reason in tried.items() if reason is not None},
    )


def _why_not(backend: Backend, device: Any, dtype: str) -> str | None:
    """Return why the device does not compute in the dtype, or None if it does: 1 + ulp - 1 has to be ulp."""
    bit = _LAST_BIT[real_dtype(dtype)]
    host = np.dtype("float32" if "16" in dtype and "complex" not in dtype else dtype)
    try:
        with default_device(backend, device):
            one, last = (backend.from_numpy(np.full(2, value, dtype=host), dtype, device) for value in (1.0, bit))
            result = (one + last) - one
            values = backend.to_numpy(result)
    except Exception as error:  # whatever the library raises is its reason
        return _words(error)
    if dtype_name(result.dtype) != dtype:
        return f"it computes in {dtype_name(result.dtype)} instead"
    return None if np.all(values == bit) else "the result is rounded to fewer bits than the dtype has"


def _compilers(backend: Backend, usable: bool) -> list[Compiler]:
    match backend.name:
        case "numpy":
            return [_llvm()]
        case "torch":
            return [_torch_compile(), _llvm()]
        case "jax" | "mlx" if usable:
            return [_own(backend, {"jax": "jax.jit", "mlx": "mx.compile"}[backend.name])]
        case "cupy":
            return [_nvrtc()]
    return []


def _own(backend: Backend, name: str) -> Compiler:
    try:
        backend.to_numpy(backend.compile(lambda x: x + 1.0)(backend.from_numpy(np.ones(2, dtype=np.float32))))
    except Exception as error:  # shown
        return Compiler(name, False, _words(error))
    return Compiler(name, True, "works")


def _llvm() -> Compiler:
    if find_spec("llvmlite") is None:
        return Compiler("llvmlite", False, "not installed: pip install 'uniopt[fusion]'")
    try:
        cpu = import_module("llvmlite.binding").get_host_cpu_name()
    except Exception as error:  # a library that does not load
        return Compiler("llvmlite", False, _words(error))
    return Compiler("llvmlite", True, f"{import_module('llvmlite').__version__}, for {cpu}")


def _nvrtc() -> Compiler:
    try:
        major, minor = import_module("cupy.cuda").nvrtc.getVersion()
    except Exception as error:  # shown
        return Compiler("nvrtc", False, _words(error))
    return Compiler("nvrtc", True, f"{major}.{minor}")


def _torch_compile() -> Compiler:
    """Return whether the C++ compiler is there that torch.compile calls on the host."""
    wanted = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    path = shutil.which(wanted)
    if path is None:
        return Compiler("torch.compile", False, f"no C++ compiler: {wanted} is not on the path; set CXX")
    if sys.platform == "win32":
        return Compiler("torch.compile", True, path)
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    if answer.returncode != 0:
        return Compiler("torch.compile", False, f"{path} --version failed: {answer.stderr.strip()}")
    return Compiler("torch.compile", True, f"with {answer.stdout.splitlines()[0]}")


def _words(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return (
        first if first and isinstance(error, backends.UnioptError) else f"{type(error).__name__}: {first}".rstrip(": ")
    )
