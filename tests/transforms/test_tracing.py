"""The transformations inside each library's compiler and vectoriser, and compiled where gradients are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import uniopt
from tests.properties.problems import Case
from tests.properties.test_tracing import check_like_eager, check_vmap, on, one_step, start, walk_with
from tests.transforms.settings import OWN, SETTINGS

QUICK = ("clip_by_global_norm", "adaptive_grad_clip", "zero_nans", "params_mean")
FIRST = {name: Case(name, hyper) for name, hyper in reversed([*SETTINGS, *OWN])}
CASES = [pytest.param(case, marks=() if name in QUICK else pytest.mark.wide) for name, case in FIRST.items()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jax_jit_compiles_once(case: Case) -> None:
    import jax

    step, traces = one_step(case.build()), []

    @jax.jit
    def counted(*args: Any) -> Any:
        traces.append(None)
        return step(*args)

    check_like_eager(walk_with(counted, "jax", jax.jit(case.build().init)(on("jax", start()))), case, "jax")
    assert len(traces) == 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_torch_compile_makes_one_graph(case: Case) -> None:
    import torch
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(one_step(case.build()), fullgraph=True, backend=counter)
    check_like_eager(walk_with(compiled, "torch", case.build().init(on("torch", start()))), case, "torch")
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", ["jax", "torch"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_vmap(case: Case, name: str) -> None:
    import jax
    import torch

    check_vmap(case, name, jax.vmap if name == "jax" else torch.func.vmap)


@pytest.mark.parametrize("average", [uniopt.params_ema(0.5), uniopt.params_mean(1, 2)], ids=repr)
def test_a_compiled_step_without_some_gradients(average: uniopt.GradientTransformation) -> None:
    """Each pattern of missing gradients has the norm of those that are there; warnings of a fallback are errors."""
    tx = uniopt.chain(uniopt.zero_nans(), uniopt.clip_by_global_norm(0.5), uniopt.sgd(0.5), average)
    params = {"a": np.asarray([1.0, 2.0]), "b": np.asarray(3.0), "c": [np.ones((2, 2))]}
    own = uniopt.tree.map(np.array, params)
    state, own_state, step = tx.init(params), tx.init(own), uniopt.compile(tx)
    for missing in ("", "a", "b", "c", "ab", ""):
        grads = {key: None if key in missing else p for key, p in params.items()}
        grads = {**grads, "c": [None] if "c" in missing else [np.full((2, 2), 0.25)]}
        updates, state = tx.update(grads, state, params)
        params = uniopt.apply_updates(params, updates)
        own, own_state = step(grads, own_state, own)
        for x, y in zip(uniopt.tree.leaves((own, own_state)), uniopt.tree.leaves((params, state)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-14)
