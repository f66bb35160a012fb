"""Kernels as functions of this machine: LLVM's text is compiled once, kept on disk, and loaded into the process."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock

import llvmlite
import llvmlite.binding as llvm
from uniopt.backends.fusion import cache as disk
from uniopt.backends.fusion.kernel import Kernel
from uniopt.backends.fusion.llvm import emit

Run = Callable[[int, int, int], None]
"""Runs a kernel: (address of the table, its rows, address of the arguments). Other Python threads run meanwhile."""

_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_lock = Lock()
_loaded: dict[str, Run] = {}


def load(kernels: Sequence[Kernel]) -> list[Run]:
    """Return a function for each kernel, compiled for this machine unless an earlier call or process did that."""
    with _lock:
        for kernel in kernels:
            if kernel.text not in _loaded:
                _loaded[kernel.text] = _load(emit(kernel))
    return [_loaded[kernel.text] for kernel in kernels]


def _load(text: str) -> Run:
    host = _Host.here()
    key = host.key(text)
    code = disk.read(key)
    if code is None:
        code = host.compile(text.replace("@kernel(", f"@kernel_{key}("))
        disk.write(key, code)
    return _PROTOTYPE(host.link(code, f"kernel_{key}"))


class _Host:
    """This machine's processor, and the functions that were loaded for it."""

    def __init__(self, cpu: str, features: str) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.triple, self.cpu, self.features = llvm.get_process_triple(), cpu, features
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self.target())

    @classmethod
    @cache
    def here(cls) -> _Host:
        return cls(llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())

    def target(self) -> llvm.TargetMachine:
        return llvm.Target.from_triple(self.triple).create_target_machine(self.cpu, self.features, opt=2, jit=True)

    def key(self, text: str) -> str:
        """Return the name of a kernel's code: a digest of everything that decides it."""
        versions = (llvmlite.__version__, llvm.llvm_version_info)
        return hashlib.sha256(repr((text, versions, self.triple, self.cpu, self.features)).encode()).hexdigest()

    def compile(self, text: str) -> bytes:
        """Return object code. The text is as it should run: LLVM's passes over it would find nothing to do."""
        module = llvm.parse_assembly(text)
        module.triple = self.triple
        module.verify()
        return bytes(self.target().emit_object(module))

    def link(self, code: bytes, name: str) -> int:
        """Return the address of a function, once the code that defines it is in memory."""
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self.engine.finalize_object()
        return int(self.engine.get_function_address(name))
