"""Steps as graphs for torch.compile: what they write, when they are compiled anew, and what cannot be compiled."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from uniopt.backends.torch.graph import compiled

import uniopt
from tests.fusion.graphs import Compiler, another_rate, on_graphs
from tests.fusion.test_fallback import Slots, branch, check_warning, init, run
from tests.fusion.walks import in_torch, normal
from uniopt.errors import EagerStepWarning


class Two(NamedTuple):
    m: Any
    n: Any


# What is written, and what is compiled anew


def test_what_is_compiled_anew(compiler: Compiler) -> None:
    """Missing gradients make a second graph, which is for all of their patterns."""
    tx = uniopt.inject_hyperparams(uniopt.adamw)(learning_rate=0.1)
    make = normal("anew", "float32")
    params, grads = in_torch([make(3), make(2, 2)]), in_torch([make(3), make(2, 2)])
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(3):
        state = another_rate(k, state)
        params, state = step(grads, state, params)
    with torch.no_grad():
        params, state = step(grads, state, params)
    params, state = step([grads[0].clone().requires_grad_(), grads[1]], state, params)
    assert len(compiler.graphs) == 1
    params, state = step([grads[0], None], state, params)
    params, state = step(grads, state, params)
    params, state = step([None, grads[1]], state, params)
    params, state = step([2 * grads[0], None], state, params)
    assert len(compiler.graphs) == 2


def test_a_missing_gradient_is_like_those_before_it(compiler: Compiler) -> None:
    """Not like its parameter: a graph is for one dtype, shape and order in memory of each tensor."""
    make = normal("before", "float32")
    params = in_torch([make(3), make(2, 4)])
    grads = [in_torch(make(5, 3)).bfloat16(), in_torch(make(5, 4, 2)).bfloat16().mT]
    tx = uniopt.differentially_private_aggregate(l2_norm_clip=1.0, noise_multiplier=0.0)
    state, step = tx.init(params), uniopt.compile(tx)
    for pattern in (grads, [grads[0], None], [None, grads[1]], grads, [grads[0], None]):
        params, state = step(pattern, state, params)
    assert len(compiler.graphs) == 2


def test_any_number_of_steps_is_compiled(compiler: Compiler) -> None:
    """torch.compile gives up on a function that it has compiled eight times."""
    for k in range(2 + torch._dynamo.config.recompile_limit):
        params, tx = [torch.ones(k + 1)], uniopt.sgd(0.5)
        uniopt.compile(tx)([torch.ones(k + 1)], tx.init(params), params)
        assert params[0].tolist() == [0.5] * (k + 1)
    assert len(compiler.graphs) == k + 1


@pytest.mark.usefixtures("compiler")
def test_parameters_stay_and_autograd_sees_the_writing() -> None:
    weight, tx = torch.nn.Parameter(torch.ones(3)), uniopt.sgd(0.5, momentum=0.9)
    state, step = tx.init([weight]), uniopt.compile(tx)
    loss = torch.sum(weight * weight)
    place, version = weight.data_ptr(), weight._version
    trace = uniopt.tree.leaves(state)[0]
    (after,), after_state = step([torch.ones(3)], state, [weight])
    assert after is weight
    assert uniopt.tree.leaves(after_state)[0] is trace
    assert weight.data_ptr() == place
    assert weight.requires_grad
    assert weight._version > version
    assert weight.tolist() == [0.5] * 3
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.usefixtures("compiler")
def test_without_donation() -> None:
    params, tx = [torch.ones(3)], uniopt.sgd(0.5, momentum=0.9)
    state = tx.init(params)
    after, after_state = uniopt.compile(tx, donate=False)([torch.ones(3)], state, params)
    assert after[0].tolist() == [0.5] * 3
    assert params[0].tolist() == [1.0] * 3
    assert [x.tolist() for x in uniopt.tree.leaves(state)] == [[0.0] * 3]
    assert [x.tolist() for x in uniopt.tree.leaves(after_state)] == [[1.0] * 3]


@pytest.mark.usefixtures("compiler")
def test_everything_is_read_before_anything_is_written() -> None:
    def exchanged(xp: Any, g: Any, s: Any, *, p: Any) -> Any:
        return s.m - p, s._replace(m=p)

    def turned(xp: Any, g: Any, s: Any, *, p: Any) -> Any:
        return -g, s._replace(m=xp.flip(p))

    def swapped(xp: Any, g: Any, s: Any) -> Any:
        return -g, s._replace(m=s.n, n=s.m)

    tx = uniopt.leafwise(Two, lambda xp, p: {"m": p + 1, "n": p + 2}, swapped)
    _, state = uniopt.compile(tx)([torch.ones(1)], tx.init([torch.zeros(1)]), [torch.zeros(1)])
    assert (state.m[0].tolist(), state.n[0].tolist()) == ([2.0], [1.0])
    for rule, moved, held in ((exchanged, [2.0, 4.0], [1.0, 2.0]), (turned, [0.0, 1.0], [2.0, 1.0])):
        tx = uniopt.leafwise(Slots, lambda xp, p: {"m": 2 * p}, rule)
        params = [torch.tensor([1.0, 2.0])]
        (after,), state = uniopt.compile(tx)([torch.ones(2)], tx.init(params), params)
        assert after is params[0]
        assert after.tolist() == moved
        assert state.m[0].tolist() == held


@pytest.mark.usefixtures("compiler")
def test_memory_that_is_shared() -> None:
    whole = torch.tensor([1.0, 2.0, 3.0])
    tx = uniopt.sgd(0.5, momentum=0.5)
    params = [whole[:2]]
    state, step = tx.init(params), uniopt.compile(tx)
    (after,), state = step([torch.ones(2)], state, params)
    assert after.tolist() == [0.5, 1.5]
    (after,), state = step([whole[1:]], state, params)  # the gradient is [1.5, 3.0], of which the step overwrites 1.5
    assert after.tolist() == [0.5 - 0.5 * 2.0, 1.5 - 0.5 * 3.5]
    params = [whole, whole]
    after, _ = step([torch.ones(3), torch.zeros(3)], tx.init(params), params)
    assert after[0] is whole
    assert after[1] is not whole
    assert after[1].tolist() == [-0.5, -0.25, 3.0]
    assert after[0].tolist() == [-1.0, -0.75, 2.5]


# What cannot be compiled


def failing(graph: Any, inputs: Any) -> Any:
    raise OSError("no compiler here\nthat is all")


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    on_graphs(monkeypatch, partial(torch.compile, fullgraph=True, backend=failing))
    params = [torch.ones(3)]
    (after, _), caught = run(uniopt.sgd(0.5), params, [[torch.ones(3)]] * 2)
    assert after[0] is params[0]
    assert after[0].tolist() == [0.0] * 3
    assert [(x.category, x.filename) for x in caught] == [(EagerStepWarning, run.__code__.co_filename)]
    assert "torch.compile failed (OSError: no compiler here). Steps are compiled" in str(caught[0].message)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_inductor_without_a_cpp_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    on_graphs(monkeypatch, compiled)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # it may have been compiled before
    params = [torch.ones(3)]
    with torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "missing"))}):
        (after, _), caught = run(uniopt.sgd(0.5), params, [[torch.ones(3)]] * 2)
    assert after[0].tolist() == [0.0] * 3
    (message,) = [str(x.message) for x in caught if x.category is EagerStepWarning]
    assert "InvalidCxxCompiler" in message


@pytest.mark.usefixtures("compiler")
def test_a_branch_on_an_array() -> None:
    (after, _), caught = run(uniopt.leafwise(Slots, init, branch), [torch.zeros(3)], [[torch.ones(3)]] * 2)
    check_warning(caught, branch, "a Python branch")
    assert after[0].tolist() == [-2.0] * 3


@pytest.mark.usefixtures("uncompiled")
def test_steps_of_slices_that_torch_has_not() -> None:
    """The error is torch's own, as that of the eager step."""
    tx = uniopt.leafwise(Slots, init, lambda xp, g, s: (xp.concat([g[::-2], g[:1]]), s))
    with pytest.raises(ValueError, match="step must be greater than zero"):
        run(tx, [torch.zeros(3)], [[torch.ones(3)]])
