"""Nothing that is passed in is written to: parameters, gradients, states, hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from uniopt.backends.protocol import Backend
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from tests.conftest import float64
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
)


def same_bits(x: Any, y: Any) -> bool:
    """Return whether two trees of NumPy arrays hold the same bits."""
    pairs = zip(uniopt.tree.leaves(x), uniopt.tree.leaves(y), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_inputs_keep_their_values(backend: Backend, case: Case) -> None:
    tx = case.build()
    params = moved(parameters(1, np.float32, tree=small_tree), backend)
    state = tx.init(params)
    for grads_np in gradients(2, 2, np.float32, small_tree):
        grads = moved(grads_np, backend)
        before = [host(tree, backend) for tree in (params, grads, state)]
        updates, next_state = tx.update(grads, state, params)
        between = host(updates, backend)
        next_params = uniopt.apply_updates(params, updates)
        settled((next_params, next_state), backend)
        for was, tree in zip(before, (params, grads, state), strict=True):
            assert same_bits(was, host(tree, backend))
        assert same_bits(between, host(updates, backend))
        params, state = next_params, next_state


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_read_only_numpy_arrays(case: Case) -> None:
    def frozen(tree: Any) -> Any:
        for leaf in uniopt.tree.leaves(tree):
            leaf.flags.writeable = False
        return tree

    tx = case.build()
    params = frozen(parameters(1))
    state = frozen(tx.init(params))
    for grads in gradients(2, 2):
        updates, state = tx.update(frozen(grads), state, params)
        params = frozen(uniopt.apply_updates(params, frozen(updates)))
        frozen(state)


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_numpy_results_share_no_memory_with_inputs(case: Case) -> None:
    # A caller who writes into his own arrays afterwards must not reach the optimizer's. Plain pass-through is the
    # exception: what a transformation leaves alone it returns.
    tx = case.build()
    params, grads = parameters(1), gradients(2, 1)[0]
    updates, state = tx.update(grads, tx.init(params), params)
    new = uniopt.apply_updates(params, updates)
    for made in uniopt.tree.leaves((state, new, updates)):
        for given in uniopt.tree.leaves((params, grads)):
            assert not np.shares_memory(made, given)


@pytest.mark.parametrize("name", SETTINGS)
def test_states_share_no_memory_with_gradients_and_parameters(name: str) -> None:
    """Of any optimizer in any setting, not in the first step and not later."""
    for hyper in SETTINGS[name].values():
        tx = getattr(uniopt, name)(**{key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()})
        params: Any = {"empty": np.ones((0, 3)), "kernel": np.ones((2, 3, 4)), "matrix": np.ones((3, 4))}
        params |= {"scalar": np.ones(()), "vector": (np.ones(4), np.ones(1))}  # where the settings have masks for
        grads = uniopt.tree.map(np.copy, params)
        given, state = uniopt.tree.leaves((params, grads)), tx.init(params)
        for _ in range(2):
            _, state = tx.update(grads, state, params, value=1.0)
            for path, made in uniopt.tree.leaves_with_paths(state, "state"):
                assert not any(np.shares_memory(made, x) for x in given), path


@pytest.mark.parametrize("case", rules_first(ONE_EACH), ids=str)
def test_the_same_call_gives_the_same_result(backend: Backend, case: Case) -> None:
    with float64(backend.name):
        tx = case.build()
        params, grads = (
            moved(parameters(1, tree=small_tree), backend),
            moved(gradients(2, 1, tree=small_tree)[0], backend),
        )
        state = tx.init(params)
        first = tx.update(grads, state, params)
        second = tx.update(grads, state, params)
        assert same_bits(host(first, backend), host(second, backend))


def test_array_hyperparameters_are_not_written_to(backend: Backend) -> None:
    rate = backend.from_numpy(np.asarray(0.25, dtype=np.float32))
    tx = uniopt.adam(rate, b1=backend.from_numpy(np.asarray(0.5, dtype=np.float32)))
    params = moved(parameters(1, np.float32, tree=small_tree), backend)
    settled(tx.update(params, tx.init(params), params)[0], backend)
    assert backend.to_numpy(rate) == np.float32(0.25)
