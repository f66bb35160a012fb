"""Kernels in CUDA C++, compiled by NVRTC without a device: no error, no remark, and each operation IEEE 754's."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from itertools import product
from typing import Any

import pytest
from uniopt.backends.fusion.cuda_arithmetic import PRELUDE, TRANSCENDENTAL
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.devices import Noting, numpy_on
from tests.fusion.rules import ELEMENTWISE, REDUCING, transformation, tree_of
from tests.fusion.test_registered import VARIANTS, exported, made
from tests.fusion.walks import DTYPES, build, compiled, normal, odd_tree, takes

if find_spec("cupy") is None:
    pytest.skip(
        "NOT RUN: cupy, which brings the interface of the compiler NVRTC, is not installed", allow_module_level=True
    )

import cupy
from cupy.cuda import nvrtc
from uniopt.backends import cupy as backend
from uniopt.backends.fusion import cuda

WIDE = pytest.mark.wide
REAL = [dtype for dtype in DTYPES if dtype != "complex64"]  # kernels have no complex numbers, the library has
CAPABILITIES = ("80", "90")
ELF = b"\x7fELF"

_CALL = re.compile(rf"\b({'|'.join(TRANSCENDENTAL)})f?\(|\bfloat_(remainder|quotient)\(")
# What the compiler may only use inside of a function of its own, such as expm1, or fmod, of which divisions are made:
# they approximate, or they contract.
_INEXACT = re.compile(r"\b\w+(?:\.\w+)*\.(?:approx|ftz|full)\b[.\w]*|\b(?:fma|mad)\.[.\w]*f(?:32|64)\b")
_ROUNDED = re.compile(r"\b(?:div|sqrt|rcp|add|sub|mul)\.[.\w]*f(?:32|64)\b")
_NOT_TO_NEAREST = re.compile(r"\.(?:rz|rm|rp|sat)\b")


def sources(tx: uniopt.GradientTransformation, tree: Any, dtype: str) -> list[str]:
    """Return the kernels of a transformation's step."""
    return sources_for(tx, tree(normal("leaves", dtype)), [tree(normal("gradients", dtype))])


def sources_for(tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> list[str]:
    noting = Noting()
    with numpy_on(noting):
        list(compiled(tx, params, stream, 1))
    return list(noting.sources)


@cache
def check(source: str, capability: str) -> None:
    """Compile a kernel; fail if the compiler remarks on it, or if it computes anything but what is written."""
    code, ptx, log = backend.translate(source, capability)
    assert code.startswith(ELF)
    assert f".target sm_{capability}" in ptx
    assert log == "", f"{log}\n{source}"
    own = source.removeprefix(PRELUDE)
    if not _CALL.search(own):
        assert (found := _inexact(ptx)) is None, f"{found} in\n{source}"
        assert ("sqrtf(" in own) == ("sqrt.rn.f32" in ptx)
        assert ("sqrt(" in own) == ("sqrt.rn.f64" in ptx)


def _inexact(ptx: str) -> str | None:
    """Return an instruction that is not rounded to nearest, or rounds two operations at once."""
    found = _INEXACT.search(ptx)
    return found[0] if found else next((x for x in _ROUNDED.findall(ptx) if _NOT_TO_NEAREST.search(x)), None)


def check_all(kernels: list[str], capability: str) -> None:
    assert kernels
    for source in kernels:
        check(source, capability)


def cases() -> list[Any]:
    """Return the first setting of each optimizer in float32, that of a few for all capabilities; the rest is wide."""
    found = []
    for dtype, capability, (name, settings) in product(REAL, CAPABILITIES, SETTINGS.items()):
        for i, setting in enumerate(settings if takes(name, dtype) else ()):
            few = name in ("adamw", "lamb") or (dtype == "float32" and capability == CAPABILITIES[-1])
            found.append(pytest.param(name, setting, dtype, capability, marks=() if few and i == 0 else WIDE))
    return found


@pytest.mark.parametrize(("name", "setting", "dtype", "capability"), cases())
def test_optimizers(name: str, setting: str, dtype: str, capability: str) -> None:
    check_all(sources(build(name, setting), odd_tree, dtype), capability)


@pytest.mark.wide
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name, dtype in product(exported() | VARIANTS, REAL) if takes(name, dtype)],
)
def test_transformations(name: str, dtype: str) -> None:
    kernels = sources_for(*made(name, dtype, 1))
    for capability in CAPABILITIES:
        check_all(kernels, capability)


@pytest.mark.wide
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", ELEMENTWISE | REDUCING)
def test_rules_of_a_users_own(name: str, dtype: str) -> None:
    check_all(sources(transformation((ELEMENTWISE | REDUCING)[name]), tree_of, dtype), CAPABILITIES[-1])


# The compiler


@pytest.mark.parametrize(("option", "instruction"), [
    ("--fmad=true", "fma.rn.f32"), ("--ftz=true", "ftz"), ("--prec-div=false", "div.full.f32"),
    ("--prec-sqrt=false", "sqrt.approx.f32"),
])  # fmt: skip
def test_what_the_compiler_does_when_it_is_not_told(
    monkeypatch: pytest.MonkeyPatch, option: str, instruction: str
) -> None:
    """Each of the options matters, and would be missed."""
    name = option.partition("=")[0]
    others = [x for x in cuda.OPTIONS if x.partition("=")[0] != name]
    assert len(others) == len(cuda.OPTIONS) - 1
    monkeypatch.setattr(backend, "OPTIONS", (*others, option))
    kernels = sources(build("adamw"), odd_tree, "float32")
    own = [source for source in kernels if not _CALL.search(source.removeprefix(PRELUDE))]
    ptx = [backend.translate(source, "80").ptx for source in own]
    assert any(instruction in (_inexact(x) or "") for x in ptx), ptx


def test_a_device_that_the_compiler_does_not_know() -> None:
    """It gets PTX for the latest one that the compiler knows, which the driver translates."""
    (source, *_) = sources(build("sgd"), odd_tree, "float32")
    code, ptx, _ = backend.translate(source, "999")
    assert not code.startswith(ELF)
    assert code.decode() == ptx
    assert f".target sm_{max(nvrtc.getSupportedArchs())}" in ptx


def test_what_does_not_compile_is_shown() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)capability 80.*identifier .y. is undefined.*int x = y;"):
        backend.translate("int x = y;", "80")


def test_a_stream_of_another_library_is_left_alone() -> None:
    """A stream of CuPy's own is destroyed with the last reference to it; this one would be an error: it is none."""
    stream = cupy.cuda.Stream.from_external(backend._Stream(0xDEAD0))
    assert stream.ptr == 0xDEAD0
    del stream
