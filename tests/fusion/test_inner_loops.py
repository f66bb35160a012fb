"""NumPy's own loops inside of kernels: eager NumPy's bits, wherever an element stands, or no kernel at all."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import array_api_compat.numpy as xp
import numpy as np
import pytest
from uniopt.backends.fusion import inner_loops, loops, machine
from uniopt.backends.fusion.inner_loops import BINARY, CALLED, DIVISIONS, UNARY, inner_loop
from uniopt.backends.fusion.kernel import Instruction, Kernel, Load, Operand, Value
from uniopt.backends.fusion.lanes import FLOATS, INTEGERS
from uniopt.backends.fusion.llvm import emit
from uniopt.backends.fusion.machine import Machine
from uniopt.backends.fusion.operations import is_fusible
from uniopt.backends.fusion.recorder import RECORDER
from uniopt.backends.fusion.recording import recording

import uniopt
from tests.fusion.walks import assert_same_bits, copied

ALL = [(op, dtype) for op in sorted(CALLED) for dtype in (*FLOATS, *(INTEGERS if op in DIVISIONS else ()))]
KINDS = {"float32": "uint32", "float64": "uint64"}


class Slots(NamedTuple):
    m: Any


def transformation(op: str) -> uniopt.GradientTransformation:
    """Return a rule that leaves a function of the gradient, or of it and its state, in the state."""

    def rule(xp: Any, g: Any, s: Any) -> Any:
        return xp.zeros_like(g), Slots(getattr(xp, op)(g) if op in UNARY else getattr(xp, op)(g, s.m))

    return uniopt.leafwise(Slots, lambda xp, p: {"m": 1 * p}, rule)


def numbers(op: str, dtype: str, seed: int) -> Any:
    """Return an array of numbers: any bits, usual numbers, large ones, and those at which something may go wrong."""
    rng, limits = np.random.default_rng(zlib.crc32(f"{op} {dtype} {seed}".encode())), np.finfo(dtype)
    edges = [0.0, 1.0, 0.5, np.pi, np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal, limits.eps]
    edges += [71476.0, 117435.992, 1e5, 1e10, 1e22]  # from where on NumPy takes other ways for angles, and beyond
    special = np.array(edges, dtype)
    x = np.concatenate([
        rng.integers(np.iinfo(KINDS[dtype]).max, size=3000, dtype=KINDS[dtype]).view(dtype),
        (rng.standard_normal(3000) * 10.0 ** rng.integers(-3, 4, 3000)).astype(dtype),
        rng.uniform(-1, 1, 2000).astype(dtype),
        np.tile(special, 30), np.tile(-special, 30),
    ])  # fmt: skip
    rng.shuffle(x)
    return x


def trees(op: str, dtype: str) -> tuple[Any, Any]:
    """Return parameters and gradients of every length from 1 to 200, at any place in memory, and of several layouts."""
    p, g = numbers(op, dtype, 0), numbers(op, dtype, 1)
    every = np.repeat(g, 3)
    params = {
        "lengths": [p[7 * n :][:n].copy() for n in range(1, 201)],
        "steps": p[:999].copy(),
        "whole": p.copy(),
        "unaligned": p[:100].copy(),
        "rows": p[:60].reshape(3, 4, 5).copy(),
        "columns": p[:3000].reshape(50, 60).T.copy(),
        "scalar": p[5:6].reshape(()).copy(),
        "empty": p[:0].reshape(0, 3),
        "spread": p[:600].reshape(20, 30).copy(),
    }
    grads = {
        "lengths": [g[5 * n :][:n] for n in range(1, 201)],
        "steps": every[: 3 * 999 : 3],
        "whole": g,
        "unaligned": np.frombuffer(b"." + g[:100].tobytes(), dtype=dtype, offset=1),
        "rows": np.repeat(g[:60].reshape(3, 4, 5), 2, axis=1)[:, ::2],
        "columns": g[:3000].reshape(50, 60).T,
        "scalar": g[9:10].reshape(()),
        "empty": g[:0].reshape(0, 3),
        "spread": np.broadcast_to(g[:30], (20, 30)),
    }
    return params, grads


@pytest.fixture(params=["machine code", "blocks"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of kernels that there are for the host."""
    if request.param == "blocks":
        monkeypatch.setattr(loops, "find_spec", lambda name: None)


def compare(tx: uniopt.GradientTransformation, params: Any, grads: Any) -> None:
    """Fail unless a compiled step is the eager one, bit for bit."""
    with np.errstate(all="ignore"):
        updates, state = tx.update(grads, tx.init(params), params)
        expected = uniopt.apply_updates(params, updates), state
        found = uniopt.compile(tx)(grads, tx.init(params), copied(params))
    assert_same_bits(found, expected, "the step")


def check(op: str, dtype: str) -> None:
    compare(transformation(op), *trees(op, dtype))


@pytest.mark.parametrize(("op", "dtype"), [(op, dtype) for op, dtype in ALL if dtype in FLOATS])
def test_results_are_eager_ones(kernels: None, op: str, dtype: str) -> None:
    assert inner_loop(op, dtype) is not None
    check(op, dtype)


NUMBER = np.asarray(0.7, np.float32)
MIXED: dict[str, Any] = {
    "a number second": lambda f, g: f(g, 0.3),
    "a number first": lambda f, g: f(2, g),
    "zero": lambda f, g: f(g, 0.0),
    "a 0-d array second": lambda f, g: f(g, NUMBER),
    "a 0-d array first": lambda f, g: f(NUMBER, g),
    "numbers alone": lambda f, g: f(NUMBER, 1.5) + g,
    "a column": lambda f, g: f(g, g[..., :1]),
    "backwards": lambda f, g: f(g[::-1], g),
}


@pytest.mark.parametrize("how", MIXED)
@pytest.mark.parametrize("op", sorted(BINARY))
def test_numbers_and_views(kernels: None, op: str, how: str) -> None:
    """What is backwards is left to the library, which has other bits for it on some processors."""
    tx = uniopt.leafwise(uniopt.EmptyState, None, lambda xp, g, s: (MIXED[how](getattr(xp, op), g), s))
    grads = [numbers(op, "float32", 2)[:1000].reshape(shape) for shape in (1000, (25, 40))]
    compare(tx, [np.ones_like(g) for g in grads], grads)


@pytest.mark.parametrize("op", sorted(UNARY))
def test_a_function_of_what_is_backwards(op: str) -> None:
    tx = uniopt.leafwise(uniopt.EmptyState, None, lambda xp, g, s: (getattr(xp, op)(xp.flip(g)), s))
    grads = [numbers(op, dtype, 3)[:1001] for dtype in FLOATS]
    compare(tx, [np.zeros_like(g) for g in grads], grads)


@pytest.mark.parametrize("op", sorted(UNARY))
def test_a_gradient_that_lies_backwards(op: str) -> None:
    tx = uniopt.leafwise(uniopt.EmptyState, None, lambda xp, g, s: (getattr(xp, op)(g), s))
    grads = [numbers(op, dtype, 4)[:1001][::-1] for dtype in FLOATS]
    compare(tx, [np.zeros(g.shape, g.dtype) for g in grads], grads)


# Where a loop is not to be had


@pytest.fixture
def unknown() -> Iterator[None]:
    """Nothing is known of NumPy's loops, before and after."""
    inner_loop.cache_clear()
    yield
    inner_loop.cache_clear()


def in_kernel(op: str, dtype: str = "float32") -> bool:
    """Return whether kernels compute a function."""
    with recording(lambda x: None) as made:
        args = [made.input((5,), dtype) for _ in range(1 if op in UNARY else 2)]
        return is_fusible(getattr(RECORDER.xp, op)(*args))


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize("op", ["cos", "remainder"])
def test_the_loop_of_another_function(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """It is found out before a kernel calls it, and the library is called as for any other function."""
    really, wrong = inner_loops._read, {"cos": "sin", "remainder": "floor_divide"}
    monkeypatch.setattr(inner_loops, "_read", lambda function, dtype: really(getattr(xp, wrong[op]), dtype))
    assert inner_loop(op, "float32") is None
    assert not in_kernel(op)
    check(op, "float32")


@pytest.mark.usefixtures("unknown")
def test_a_loop_whose_last_elements_have_other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if NumPy had another function for what is left over of a vector."""
    prototype = inner_loops._PROTOTYPE

    @prototype
    def loop(addresses: int, count: int, strides: int, data: int) -> None:
        real = inner_loops._read(np.exp, "float64")
        assert real is not None
        prototype(real.loop)(addresses, count, strides, real.data)
        if ctypes.c_ssize_t.from_address(count).value < 16:
            place = ctypes.c_double.from_address(ctypes.c_size_t.from_address(addresses + 8).value)
            place.value = np.nextafter(place.value, 2.0)

    found = inner_loops.InnerLoop(ctypes.cast(loop, ctypes.c_void_p).value, None)
    assert not inner_loops._has_the_bits_of(np.exp, found, "float64")


@pytest.mark.usefixtures("unknown")
def test_ufuncs_that_depend_on_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no one result that a kernel could have."""

    class Strided:
        nin = 1

        def __call__(self, x: Any) -> Any:
            return np.exp(x) if x.flags.c_contiguous else np.nextafter(np.exp(x), 2)

    real = inner_loop("exp", "float64")
    assert real is not None
    assert not inner_loops._has_the_bits_of(Strided(), real, "float64")  # type: ignore[arg-type]  # that is the point


@pytest.mark.usefixtures("unknown")
def test_another_layout_of_the_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read any further."""
    fields = (("more", ctypes.c_int), *inner_loops._Ufunc._fields_)
    monkeypatch.setattr(inner_loops, "_Ufunc", type("_Ufunc", (ctypes.Structure,), {"_fields_": fields}))
    assert not any(in_kernel(op) for op in CALLED)
    check("exp", "float32")


def test_what_is_no_ufunc_or_has_no_such_loop() -> None:
    assert inner_loop("round", "float32") is None
    assert inner_loop("exp", "int32") is None
    assert not in_kernel("exp", "int32")
    assert not in_kernel("exp", "float16")
    assert in_kernel("remainder", "int32")


def kernel_of(op: str, dtype: str = "float64") -> Kernel:
    operand = Operand(dtype, "next")
    return Kernel(1, (operand, operand), (), (Instruction(op, dtype, (Load(0),)),), ((1, Value(0)),))


def test_a_kernel_whose_loop_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM would end the process."""
    monkeypatch.setattr(machine, "_named", {})
    monkeypatch.setattr(machine, "inner_loop", lambda op, dtype: None)
    with pytest.raises(NotImplementedError, match="exp of float64"):
        Machine("generic", "").load([kernel_of("exp")])


# Other processes


def test_kernels_have_no_addresses() -> None:
    """They differ from process to process, and the text names what is kept on disk."""
    loop = inner_loop("exp", "float64")
    assert loop is not None
    addresses = [loop.loop, ctypes.addressof(loop)]
    text = emit(kernel_of("exp"))
    assert not any(f"{form(x)}" in text for x in addresses for form in (str, hex))


PROGRAM = f"""
import sys
import numpy as np
from uniopt.backends.fusion.inner_loops import InnerLoop, inner_loop
from uniopt.backends.fusion.kernel import *
from uniopt.backends.fusion.machine import Machine, load
Machine.compile = None if sys.argv[1] == "must find it" else Machine.compile
(run,) = load([Kernel(*{kernel_of("exp").text})])
print(inner_loop("exp", "float64").loop)
inner_loop.cache_clear()
others = [InnerLoop(8, 8) for _ in range(1000)]  # where anything was that has not been kept
x, y = np.linspace(-3, 3, 1001), np.zeros(1001)
table = np.array([1001, x.ctypes.data, 8, y.ctypes.data, 8])
run(table.ctypes.data, 1, 0)
assert y.tobytes() == np.exp(x).tobytes()
"""


def test_another_process_finds_the_kernel_and_its_own_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy lies elsewhere there. What the kernel knows of the loop lasts as long as the kernel."""
    monkeypatch.setenv("UNIOPT_CACHE_DIR", str(tmp_path))
    places = [
        subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout
        for how in ("may compile", "must find it", "must find it", "must find it")
    ]
    assert len(set(places)) > 1
    assert len(list(tmp_path.iterdir())) == 1
