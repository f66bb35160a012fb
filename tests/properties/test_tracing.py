"""Updates run inside each library's own compiler and vectoriser, compiled once, and do there what they do outside."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import uniopt
from tests.conftest import require
from tests.properties.error_unit import ulps
from tests.properties.problems import (
    ONE_EACH,
    PLAIN,
    Case,
    gradients,
    host,
    moved,
    parameters,
    rules_first,
    settled,
    small_tree,
    trajectory,
)

STEPS = 5
NOISY = Case("noisy_sgd", {"learning_rate": 0.1, "eta": 0.01})
SCHEDULED = Case("adamw", {"learning_rate": uniopt.warmup_cosine_decay_schedule(0.0, 0.1, 3, 10)})
CASES = [*rules_first(ONE_EACH), SCHEDULED]  # tests/random compiles the noise


def start() -> Any:
    return parameters(3, np.float32, tree=small_tree)


def stream() -> list[Any]:
    return gradients(4, STEPS, np.float32, small_tree)


def one_step(tx: uniopt.GradientTransformation) -> Any:
    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return uniopt.apply_updates(params, updates), state

    return step


def on(name: str, tree: Any) -> Any:
    """Return the tree as arrays of the library that a compiler finds again: with strides of their own."""
    tree = moved(tree, require(name))
    if name != "torch":
        return tree
    import torch

    # NumPy's empty arrays have strides of 0, which torch takes over, but not into results: it would compile twice.
    return uniopt.tree.map(lambda x: torch.zeros(x.shape).copy_(x), tree)


def walk_with(step: Any, name: str, state: Any) -> list[list[Any]]:
    """Return the parameters' leaves at the start and after each call of a step function."""
    backend = require(name)
    params = on(name, start())
    steps = [uniopt.tree.leaves(host(params, backend))]
    for grads in stream():
        params, state = step(params, state, on(name, grads))
        steps.append(uniopt.tree.leaves(host(settled(params, backend), backend)))
    return steps


def check_like_eager(found: list[list[Any]], case: Case, name: str) -> None:
    expected = trajectory(case.build(), start(), stream(), require(name))
    worst = ulps(found, expected)
    assert worst.value <= 4, worst


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jax_jit_compiles_once(case: Case) -> None:
    import jax

    step, traces = one_step(case.build()), []

    @jax.jit
    def counted(*args: Any) -> Any:
        traces.append(None)
        return step(*args)

    state = jax.jit(case.build().init)(on("jax", start()))
    found = walk_with(counted, "jax", state)
    assert len(traces) == 1
    check_like_eager(found, case, "jax")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jax_scan_equals_the_loop(case: Case) -> None:
    import jax

    backend = require("jax")
    tx = case.build()
    step = one_step(tx)
    params = moved(start(), backend)

    def body(carry: Any, grads: Any) -> Any:
        carry = step(*carry, grads)
        return carry, carry[0]

    stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *[moved(g, backend) for g in stream()])
    _, seen = jax.lax.scan(body, (params, tx.init(params)), stacked)
    found = [uniopt.tree.leaves(host(params, backend))]
    found += [[leaf[i] for leaf in uniopt.tree.leaves(host(seen, backend))] for i in range(STEPS)]
    check_like_eager(found, case, "jax")


def batch(trees: list[Any]) -> Any:
    return uniopt.tree.map(lambda *leaves: np.stack(leaves), *trees)


def check_vmap(case: Case, name: str, vmap: Any) -> None:
    """A batch of three runs is those three runs."""
    backend = require(name)
    tx = case.build()
    starts = [parameters(seed, np.float32, tree=small_tree) for seed in (5, 6, 7)]
    streams = [gradients(seed, 2, np.float32, small_tree) for seed in (8, 9, 10)]
    params = moved(batch(starts), backend)
    state = vmap(tx.init)(params)
    for i in range(2):
        grads = moved(batch([one[i] for one in streams]), backend)
        params, state = vmap(one_step(tx))(params, state, grads)
    together = uniopt.tree.leaves(host(params, backend))
    for k, (alone, its_stream) in enumerate(zip(starts, streams, strict=True)):
        expected = trajectory(tx, alone, its_stream, backend)
        worst = ulps([expected[0], [leaf[k] for leaf in together]], [expected[0], expected[-1]])
        assert worst.value <= 4, worst


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jax_vmap(case: Case) -> None:
    import jax

    check_vmap(case, "jax", jax.vmap)


@pytest.mark.parametrize("case", [*CASES, NOISY], ids=str)
def test_torch_vmap(case: Case) -> None:
    import torch

    check_vmap(case, "torch", torch.func.vmap)


@pytest.mark.parametrize("case", [*CASES, NOISY], ids=str)
def test_torch_compile_makes_one_graph(case: Case) -> None:
    import torch
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()  # compiles to nothing: the graph runs operation by operation
    compiled = torch.compile(one_step(case.build()), fullgraph=True, backend=counter)
    found = walk_with(compiled, "torch", case.build().init(on("torch", start())))
    assert counter.frame_count == 1
    check_like_eager(found, case, "torch")


FRESH = """
import torch, uniopt
from torch._dynamo.testing import CompileCounter

tx = uniopt.adamw(0.1)
params = {"w": torch.ones(2, 3), "b": torch.ones(())}
state = tx.init(params)
counter = CompileCounter()

@torch.compile(fullgraph=True, backend=counter)
def step(params, state):
    updates, state = tx.update(params, state, params)
    return uniopt.apply_updates(params, updates), state

for _ in range(3):
    params, state = step(params, state)
print(counter.frame_count)
"""


def test_torch_compiles_once_in_a_new_process() -> None:
    # What uniopt remembers from step to step must not be first learnt under tracing, which would be guarded on.
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


@pytest.mark.wide
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, while inductor is imported
@pytest.mark.parametrize("case", [PLAIN[7], NOISY, PLAIN[-1]], ids=str)
def test_torch_compile_with_inductor(case: Case) -> None:
    import torch

    torch._dynamo.reset()
    compiled = torch.compile(one_step(case.build()), fullgraph=True)
    found = walk_with(compiled, "torch", case.build().init(on("torch", start())))
    check_like_eager(found, case, "torch")


@pytest.mark.parametrize("case", [*CASES, NOISY], ids=str)
def test_mlx_compile(case: Case) -> None:
    import mlx.core as mx

    mx.zeros(1)  # MLX traces a process's first function twice if it comes before the default stream
    tx = case.build()
    state = tx.init(on("mlx", start()))
    step, traces = one_step(tx), []
    _, state_structure = uniopt.tree.flatten(state)
    _, structure = uniopt.tree.flatten(start())

    # MLX knows dicts, lists and tuples, not NamedTuples: lists of leaves go in and out.
    @mx.compile
    def flat_step(params: list[Any], state: list[Any], grads: list[Any]) -> Any:
        traces.append(None)
        new, after = step(
            uniopt.tree.unflatten(structure, params),
            uniopt.tree.unflatten(state_structure, state),
            uniopt.tree.unflatten(structure, grads),
        )
        return uniopt.tree.leaves(new), uniopt.tree.leaves(after)

    def compiled(params: Any, state: Any, grads: Any) -> Any:
        leaves, after = flat_step(*map(uniopt.tree.leaves, (params, state, grads)))
        return uniopt.tree.unflatten(structure, leaves), uniopt.tree.unflatten(state_structure, after)

    found = walk_with(compiled, "mlx", state)
    assert len(traces) == 1
    check_like_eager(found, case, "mlx")
