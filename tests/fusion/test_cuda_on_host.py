"""Programs for CUDA devices, their kernels compiled for the host: compiled NumPy's results, without a device.

Everything but the device is what runs on one: the recording's cut into loops and calls of the library, the kernels'
source, the tables of addresses, and the chunks of the launches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.fusion import rules, test_layouts, test_reductions, walks
from tests.fusion.devices import Host, Noting, compile_for_host, numpy_on, require_compiler
from tests.fusion.test_registered import VARIANTS, exported, made
from tests.fusion.walks import (
    DTYPES,
    ELEMENTWISE,
    WITH_SUMS,
    assert_same_bits,
    build,
    compiled,
    copied,
    gradients,
    normal,
    numpy_dtype,
    odd_tree,
    takes,
)

WIDE = pytest.mark.wide
POWERS = {"ftrl", "noisy_sgd"}
"""Optimizers with powers of numbers. NumPy's power of a scalar and its power of an array differ in the last bit."""
SAME_BITS = [(name, setting) for name, setting in ELEMENTWISE if name not in POWERS]
WITH_POWERS = [(name, setting) for name, setting in ELEMENTWISE if name in POWERS]
COMPOSED = {"logarithms"}
"""Rules of a user's with a function that CUDA does not have: kernels put logaddexp together from others."""
FEW = {"adafactor", "adamw", "lamb", "noisy_sgd", "rprop"}
"""The optimizers that are tested every time in the other dtypes too."""


def quick(names: list[tuple[str, str]], dtype: str) -> dict[tuple[str, str], bool]:
    """Return whether each setting is tested every time: all are in float32, those of a few in another dtype."""
    first = dict(reversed(names))
    return {(name, setting): dtype == "float32" or (name in FEW and first[name] == setting) for name, setting in names}


def cases(names: list[tuple[str, str]], dtypes: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(name, setting, dtype, marks=() if fast else WIDE)
        for dtype in dtypes
        for (name, setting), fast in quick(names, dtype).items()
        if takes(name, dtype)
    ]


def reductions() -> Iterator[tuple[str, Any, Any]]:
    """Yield reductions of all kinds, each as the function, the array and the axes."""
    for op in ("sum", "max", "min"):
        for dtype in ("float32", "float64"):
            for size in test_reductions.SIZES:
                yield op, normal((size, op), dtype)(size), None
    for shape in test_reductions.SHAPES:
        x = normal(shape, "float32")(*shape)
        for axis in (None, 0, 1, -1, (0, 1), *([2, (0, 2), (1, 2)] if len(shape) == 3 else [])):
            yield "sum", x, axis
            yield "max", x, axis
    x = normal("views", "float32")(40, 30, 20)
    for view in (x.transpose(2, 0, 1), x[::-1, ::2], x[:, 3:-4, ::-1], np.broadcast_to(x[:1], x.shape)):
        for axis in (None, 0, 1, (0, 2)):
            yield "sum", view, axis


@pytest.fixture(autouse=True, scope="module")
def _compiler(request: pytest.FixtureRequest) -> None:
    """Compile the kernels of the tests that were asked for at once, which takes a fraction of the time."""
    require_compiler()
    noting = Noting()
    with numpy_on(noting):
        for item in request.session.items:
            given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
            if item.path == request.path and given.keys() == {"name", "setting", "dtype"}:
                make = normal("one step", given["dtype"])
                list(compiled(build(given["name"], given["setting"]), odd_tree(make), [odd_tree(make)], 1))
            elif item.path == request.path and given.keys() == {"name", "dtype"}:
                list(compiled(*made(given["name"], given["dtype"], 1), 1))
        for rule in (rules.ELEMENTWISE | rules.REDUCING).values():
            tree = rules.tree_of(normal("rules", "float32"))
            list(compiled(rules.transformation(rule), copied(tree), [tree], 1))
        for op, x, axis in reductions():
            test_reductions.reduced(op, x, axis)
        for dtype in ("float32", "float16", "bfloat16"):
            for tx in SPECIAL.values():
                list(compiled(tx, *special(dtype), 1))
        for layout, dtype in product(test_layouts.LAYOUTS, ("float32", "float16")):
            of_layout(layout, dtype)
        for name in MISSING:
            list(compiled(build(name), *with_missing(name), 6))
    compile_for_host(noting.sources)


def walk(tx: uniopt.GradientTransformation, params: Any, stream: list[Any], device: Noting | None = None) -> list[Any]:
    """Return ``(params, state)`` after each compiled step, NumPy's own or on a device."""
    if device is None:
        with np.errstate(invalid="ignore", over="ignore"):
            return [copied(after) for after in compiled(tx, copied(params), stream, len(stream))]
    with numpy_on(device):
        return [copied(after) for after in compiled(tx, copied(params), stream, len(stream))]


def assert_equal(tx: uniopt.GradientTransformation, params: Any, stream: list[Any]) -> None:
    """Fail unless a walk on a device has the bits of NumPy's own."""
    pairs = zip(walk(tx, params, stream, Host()), walk(tx, params, stream), strict=True)
    for k, (found, expected) in enumerate(pairs, 1):
        assert_same_bits(found, expected, f"step {k}")


def assert_near(tx: uniopt.GradientTransformation, params: Any, stream: list[Any], bound: float = 2.0) -> None:
    """Fail unless each step on a device is the eager one but for its roundings."""

    def run(grads: Any, state: Any, params: Any, **extra: Any) -> Any:
        with numpy_on(Host()):
            return uniopt.compile(tx)(grads, copied(state), copied(params), **extra)

    walks.assert_near(run, tx, params, stream, bound)


# Optimizers and transformations


@pytest.mark.parametrize(("name", "setting", "dtype"), cases(SAME_BITS, DTYPES))
def test_elementwise_optimizers(name: str, setting: str, dtype: str) -> None:
    assert_equal(build(name, setting), odd_tree(normal((name, setting), dtype)), gradients((name, setting), dtype, 5))


@pytest.mark.parametrize(("name", "setting", "dtype"), cases(WITH_POWERS, DTYPES[:2]))
def test_optimizers_with_powers(name: str, setting: str, dtype: str) -> None:
    assert_near(build(name, setting), odd_tree(normal((name, setting), dtype)), gradients((name, setting), dtype, 5))


@pytest.mark.parametrize(("name", "setting", "dtype"), cases(WITH_SUMS, DTYPES[:4]))
def test_optimizers_with_sums(name: str, setting: str, dtype: str) -> None:
    tx, params = build(name, setting), odd_tree(normal((name, setting), dtype))
    stream = gradients((name, setting), dtype, 5)
    if dtype == "float64":  # its sums are rounded in another order
        assert_near(tx, params, stream, test_reductions.MAGNIFIED.get((name, "float32"), 2.0))
    else:
        assert_equal(tx, params, stream)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float32") for name in VARIANTS),
        *(pytest.param(name, "float32", marks=WIDE) for name in exported()),
        *(pytest.param(name, "bfloat16", marks=WIDE) for name in exported() | VARIANTS),
    ],
)
def test_transformations(name: str, dtype: str) -> None:
    assert_equal(*made(name, dtype, 4))


@pytest.mark.parametrize("name", rules.ELEMENTWISE | rules.REDUCING)
def test_rules_of_a_users_own(name: str) -> None:
    """Each is one that kernels compute, or that is left to the library, or some of both."""
    make = normal(name, "float32")
    params, stream = rules.tree_of(make), [rules.tree_of(make) for _ in range(3)]
    tx = rules.transformation((rules.ELEMENTWISE | rules.REDUCING)[name])
    if "power" in name or name in rules.REDUCING or name in COMPOSED:
        assert_near(tx, params, stream)
    else:
        assert_equal(tx, params, stream)


# Sums, maxima and minima


def test_reductions_are_near_to_the_exact_ones() -> None:
    with numpy_on(Host()):
        for op, x, axis in reductions():
            found = test_reductions.reduced(op, x, axis)
            test_reductions.assert_near(op, x, axis, found)


def large(dtype: str) -> Any:
    """Return leaves about as long as what a block of threads takes of one, and longer."""
    make = normal("large", dtype)
    return [make(n) for n in (1, 255, 8191, 8192, 8193, 20_001)] + [make(3, 6000).T, make(2, 3, 4099)[:, ::2]]


@pytest.mark.parametrize("name", ["adamw", "sm3", "lamb", "adafactor", "novograd"])
def test_the_order_of_threads_and_blocks_does_not_matter(name: str) -> None:
    tx, params, grads = build(name), large("float32"), large("float32")[::-1]
    grads = [g if g.shape == p.shape else np.array(p[::-1]) for g, p in zip(grads, params, strict=True)]
    forwards, backwards = (walk(tx, params, [grads] * 2, Host(backwards=b)) for b in (False, True))
    assert_same_bits(forwards, backwards, "backwards")
    assert_same_bits(forwards, walk(tx, params, [grads] * 2), "NumPy")


# Memory


def of_layout(layout: str, dtype: str) -> Any:
    """Return the last result of steps on a leaf of that layout, with gradients of every one."""
    make = normal(layout, dtype)
    params = [test_layouts.LAYOUTS[layout](make)[0], make(3)]
    stream = [[view(make)[0], make(3)] for view in (test_layouts.LAYOUTS | test_layouts.READ_ONLY).values()]
    return list(compiled(build("adamw", "decay"), params, stream, len(stream)))[-1]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layout", test_layouts.LAYOUTS)
def test_leaves_of_every_layout(layout: str, dtype: str) -> None:
    with numpy_on(Host()):
        found = of_layout(layout, dtype)
    assert_same_bits(found, of_layout(layout, dtype), layout)


MISSING = ("adamw", "lamb", "noisy_sgd", "polyak_sgd", "adafactor")


def with_missing(name: str) -> tuple[Any, list[Any]]:
    """Return parameters, and gradients of which some are None."""
    make = normal(name, "float32")
    params = [make(5), make(4, 3), make(), make(9000)]
    patterns = [(), (0, 2), (), (0, 1, 2, 3), (3,), (1,)]
    return params, [[None if i in none else make(*p.shape) for i, p in enumerate(params)] for none in patterns]


@pytest.mark.parametrize("name", MISSING)
def test_any_pattern_of_missing_gradients(name: str) -> None:
    (assert_near if name in POWERS else assert_equal)(build(name), *with_missing(name))


def test_a_missing_gradient_of_a_complex_number() -> None:
    """Results of the library are left out like those of kernels."""
    make = normal("complex", "complex64")
    stream = [[None if i in none else make() for i in range(3)] for none in ((0,), (), (1, 2), (0, 1, 2))]
    assert_equal(uniopt.sgd(0.125, momentum=0.5), [make() for _ in range(3)], stream)


def special(dtype: str) -> tuple[Any, list[Any]]:
    """Return parameters and gradients with each pair of infinities, NaN, zeros of both signs, subnormal numbers ..."""
    tiny = float(np.finfo("float16" if dtype == "float16" else "float32").smallest_normal)
    numbers = [0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny / 4, tiny / 2, 1.0, -2.5, 65504.0, 3e-8]
    x = np.array(numbers).astype(numpy_dtype(dtype))
    grads = np.tile(x, len(x))
    return np.repeat(x, len(x)), [grads, np.array(grads[::-1])]


def _widened(x: Any) -> Any:
    """Return bfloat16 as float32, in which it is seen what is NaN."""
    return x.astype(np.float32) if x.dtype == numpy_dtype("bfloat16") else x


def _divided(xp: Any, g: Any, s: Any) -> Any:
    """Divide numbers of all signs, zero too, and positions by numbers among which 0 and -1 are."""
    n = rules.numbered(xp, g, xp.int32) - 70
    return g // s.m, s._replace(m=g % s.m, n=n // (n % 7 - 2) + n % (n % 5 - 1))


SPECIAL: dict[str, uniopt.GradientTransformation] = {
    "divisions": rules.transformation(_divided),
    **{
        name: rules.transformation(rules.ELEMENTWISE[name])
        for name in ("rounding", "signs", "clip by arrays", "where", "logic", "infinities", "another precision")
    },
    **{name: build(name) for name in ("adamw", "lion", "rprop", "amsgrad")},
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_special_numbers(dtype: str) -> None:
    for name, tx in SPECIAL.items():
        for found, expected in zip(*(walk(tx, *special(dtype), x) for x in (Host(), None)), strict=True):
            assert_same_bits(*(uniopt.tree.map(_widened, x) for x in (found, expected)), name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logaddexp_of_special_numbers(dtype: str) -> None:
    """Nothing overflows on the way."""
    tx = rules.transformation(lambda xp, g, s: (g, s._replace(m=xp.logaddexp(g, s.m))))
    params, stream = special(dtype)
    found, expected = (uniopt.tree.leaves(walk(tx, params, stream, device)) for device in (Host(), None))
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=4 * np.finfo(dtype).eps)
