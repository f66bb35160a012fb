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
from uniopt.backends.fusion.calls import called, symbol
from uniopt.backends.fusion.inner_loops import InnerLoop, inner_loop
from uniopt.backends.fusion.kernel import Kernel
from uniopt.backends.fusion.llvm import emit

Run = Callable[[int, int, int], None]
"""Runs a kernel: (address of the table, its rows, address of the arguments). Other Python threads run meanwhile."""

_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


def load(kernels: Sequence[Kernel]) -> list[Run]:
    """Return a function for each kernel, compiled for this machine unless an earlier call or process did that."""
    return this_machine().load(kernels)


@cache
def this_machine() -> Machine:
    """Return the processor that this process runs on."""
    return Machine(llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


_named: dict[str, InnerLoop] = {}
"""The loops that kernels call, by their names. Kernels read these pairs of pointers as long as they last."""


def _name_loops(kernel: Kernel) -> None:
    """Tell LLVM where in this process the loops are that a kernel calls."""
    for op, dtype in called(kernel):
        name = symbol(op, dtype)
        if name not in _named:
            loop = inner_loop(op, dtype)
            if loop is None:  # LLVM would end the process
                raise NotImplementedError(f"NumPy's loop for {op} of {dtype} is not to be had")
            _named[name] = loop
            llvm.add_symbol(name, ctypes.addressof(loop))


class Machine:
    """A processor, and the kernels that were loaded for it.

    Parameters
    ----------
    cpu, features
        As LLVM names them.
    """

    def __init__(self, cpu: str, features: str) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._triple, self._cpu, self._features = llvm.get_process_triple(), cpu, features
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._target())
        self._loaded: dict[str, Run] = {}
        self._lock = Lock()

    def load(self, kernels: Sequence[Kernel]) -> list[Run]:
        """Return a function for each kernel."""
        with self._lock:
            for kernel in kernels:
                if kernel.text not in self._loaded:
                    _name_loops(kernel)
                    self._loaded[kernel.text] = self._load(emit(kernel))
        return [self._loaded[kernel.text] for kernel in kernels]

    def compile(self, text: str) -> bytes:
        """Return object code. The text already is what should run: LLVM's passes over it would find little to do."""
        module = llvm.parse_assembly(text)
        module.triple = self._triple
        module.verify()
        return bytes(self._target().emit_object(module))

    def _load(self, text: str) -> Run:
        key = self._key(text)
        code = disk.read(key)
        if code is None:
            code = self.compile(text.replace("@kernel(", f"@kernel_{key}("))
            disk.write(key, code)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        run = _PROTOTYPE(self._engine.get_function_address(f"kernel_{key}"))
        run.engine = self._engine  # type: ignore[attr-defined]  # the code lasts as long as its engine
        return run

    def _key(self, text: str) -> str:
        """Return the name of a kernel's code: a digest of everything that decides it."""
        versions = (llvmlite.__version__, llvm.llvm_version_info)
        return hashlib.sha256(repr((text, versions, self._triple, self._cpu, self._features)).encode()).hexdigest()

    def _target(self) -> llvm.TargetMachine:
        return llvm.Target.from_triple(self._triple).create_target_machine(self._cpu, self._features, opt=2, jit=True)
