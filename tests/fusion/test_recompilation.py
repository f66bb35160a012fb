"""What is compiled once: nothing is recorded again for other numbers, and no kernel is made for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.walks import assert_same_bits, build, copied, eager, gradients, in_torch, normal, odd_tree


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Return a function that counts the kernels that have been made, after those of earlier tests are forgotten."""
    from uniopt.backends.fusion import machine

    monkeypatch.setenv("UNIOPT_CACHE_DIR", str(tmp_path))
    machine.this_machine.cache_clear()
    yield lambda: len(list(tmp_path.iterdir()))
    machine.this_machine.cache_clear()


class CountState(NamedTuple):
    count: Any
    trace: Any


class Rule:
    """A rule that counts how often it is recorded."""

    __name__ = "rule"

    def __init__(self) -> None:
        self.recordings = 0

    def __call__(self, xp: Any, g: Any, s: Any, *, learning_rate: Any, value: Any) -> Any:
        self.recordings += 1
        trace = 0.5 * s.trace + g * value
        return -learning_rate * trace, s._replace(trace=trace)


def counted(learning_rate: Any) -> tuple[uniopt.GradientTransformation, Rule]:
    rule = Rule()
    init = lambda xp, p: {"trace": xp.zeros_like(p)}  # noqa: E731
    return uniopt.leafwise(CountState, init, rule, learning_rate=learning_rate), rule


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_schedules_counts_and_extra_arguments(library: str, kernels: Callable[[], int]) -> None:
    tx, rule = counted(uniopt.cosine_decay_schedule(0.5, 10))
    make = normal(library, "float32")
    params, stream = [make(5), make(2, 3)], [[make(5), make(2, 3)] for _ in range(12)]
    expected, expected_state = copied(params), tx.init(copied(params))
    if library == "torch":
        params, stream_in = in_torch(params), in_torch(stream)
    else:
        stream_in = stream
    state, step = tx.init(params), uniopt.compile(tx)
    for k, (grads, grads_in) in enumerate(zip(stream, stream_in, strict=True)):
        rule.recordings, made = 0, kernels()
        params, state = step(grads_in, state, params, value=np.float64(0.5 + k))
        assert (rule.recordings > 0, kernels() > made) == (k == 0, k == 0), f"step {k}"
        updates, expected_state = tx.update(grads, expected_state, expected, value=np.asarray(0.5 + k))
        expected = uniopt.apply_updates(expected, updates)
        assert_same_bits((params, state), (expected, expected_state), f"step {k}")


@pytest.mark.parametrize("value", [1.5, 3, np.float32(2.0), np.float64(2.0), np.asarray(0.25), torch.tensor(0.75)])
def test_an_extra_argument_of_any_kind(value: Any) -> None:
    """Python numbers are run-time inputs like arrays."""
    tx, rule = counted(0.5)
    params = [np.ones(3)]
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(3):
        before = params[0].copy(), state.trace[0].copy()
        rule.recordings = 0
        params, state = step([np.ones(3)], state, params, value=value * (k + 1))
        assert (rule.recordings > 0) == (k == 0)
        trace = 0.5 * before[1] + float(value) * (k + 1)
        assert np.array_equal(state.trace[0], trace)
        assert np.array_equal(params[0], before[0] - 0.5 * trace)


def test_a_torch_learning_rate_that_is_changed_in_place() -> None:
    rate = torch.tensor(0.5)
    tx, rule = counted(rate)
    params = [torch.zeros(3)]
    state, step = tx.init(params), uniopt.compile(tx)
    step([torch.ones(3)], state, params, value=1.0)
    rule.recordings = 0
    rate.fill_(0.25)
    step([torch.zeros(3)], state, params, value=1.0)
    assert torch.equal(params[0], torch.full((3,), -0.5 - 0.25 * 0.5))
    assert rule.recordings == 0


def test_a_learning_rate_in_the_state() -> None:
    recordings = []

    def init(params: Any) -> Any:
        return {"learning_rate": np.asarray(0.5)}

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        recordings.append(1)
        return uniopt.tree.map(lambda g: -state["learning_rate"] * g, updates), state

    tx = uniopt.GradientTransformation(init, update)
    params = {"w": np.zeros(3)}
    state, step = tx.init(params), uniopt.compile(tx)
    step({"w": np.ones(3)}, state, params)
    first = len(recordings)
    state["learning_rate"][...] = 0.25
    step({"w": np.ones(3)}, state, params)
    step({"w": np.ones(3)}, {"learning_rate": np.asarray(2.0)}, params)  # another array
    assert np.array_equal(params["w"], [-0.5 - 0.25 - 2.0] * 3)
    assert len(recordings) == first


@pytest.mark.parametrize("name", SETTINGS)
def test_other_numbers_make_no_other_kernels(name: str, kernels: Callable[[], int]) -> None:
    params, (grads, *_) = odd_tree(normal(name, "float32")), gradients(name, "float32", 1)

    def run(tx: uniopt.GradientTransformation) -> int:
        before = kernels()
        mine = copied(params)
        uniopt.compile(tx)(grads, tx.init(mine), mine, value=3.0)
        return kernels() - before

    hyper = next(iter(SETTINGS[name].values()))
    numbers = {key: 0.9375 * x for key, x in hyper.items() if isinstance(x, float) and x != 0.0}
    assert run(build(name)) > 0
    assert run(getattr(uniopt, name)(**{**hyper, **numbers})) == 0


@pytest.mark.parametrize("name", ["adamw", "noisy_sgd"])
def test_leaves_of_any_shape_share_their_kernels(name: str, kernels: Callable[[], int]) -> None:
    tx = build(name)

    def run(*shapes: tuple[int, ...]) -> int:
        params = [np.ones(shape, np.float32) for shape in shapes]
        uniopt.compile(tx)([np.ones_like(p) for p in params], tx.init(params), params)
        return kernels()

    first = run((3,))
    assert run((1000,), (2, 3), (4, 5, 6), (7,), (1, 1, 9), (70000,)) == first


def test_a_step_without_donation_is_recorded_once() -> None:
    tx, rule = counted(0.5)
    params = [np.ones(3)]
    state, step = tx.init(params), uniopt.compile(tx, donate=False)
    params, state = step([np.ones(3)], state, params, value=1.0)
    rule.recordings = 0
    for _ in range(3):
        params, state = step([np.ones(3)], state, params, value=1.0)
    assert rule.recordings == 0


# None


def patterns(stream: list[Any], seed: int) -> list[Any]:
    """Return the stream with leaves missing at random: at first several, then none, then one or more."""
    rng = np.random.default_rng(seed)
    chances = [0.5, 0.0, *[0.4] * (len(stream) - 2)]

    def thin(tree: Any, chance: float) -> Any:
        return uniopt.tree.map(lambda g: None if rng.random() < chance else g, tree)

    return [thin(tree, chance) for tree, chance in zip(stream, chances, strict=True)]


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", sorted(SETTINGS.keys()))
def test_any_pattern_of_missing_gradients(name: str, library: str) -> None:
    tx = build(name)
    stream = patterns(gradients(name, "float64", 8), 3)
    params = odd_tree(normal(name, "float64"))
    mine, streamed = (
        (copied(params), stream) if library == "numpy" else (in_torch(params), [in_torch(g) for g in stream])
    )
    state, step = tx.init(mine), uniopt.compile(tx)
    for k, (expected, expected_state) in enumerate(eager(tx, params, stream, len(stream))):
        mine, state = step(streamed[k], state, mine, value=2.0 + (-0.75) ** k)
        found = uniopt.tree.leaves((mine, state))
        for x, (path, y) in zip(found, uniopt.tree.leaves_with_paths((expected, expected_state), ""), strict=True):
            np.testing.assert_allclose(np.asarray(x), y, rtol=1e-12, atol=1e-13, err_msg=f"step {k}: {path}")


@pytest.mark.parametrize("name", ["lamb", "polyak_sgd", "muon"])
def test_no_pattern_of_missing_gradients_makes_kernels(name: str, kernels: Callable[[], int]) -> None:
    tx = build(name)
    whole, *stream = gradients(name, "float32", 10)
    params = odd_tree(normal(name, "float32"))
    state, step = tx.init(params), uniopt.compile(tx)
    step(whole, state, params, value=3.0)
    made = kernels()
    for grads in patterns(stream, 5):
        step(grads, state, params, value=3.0)
    assert kernels() == made
