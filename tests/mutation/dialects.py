"""The dialects beside the libraries that they follow, over a few steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch

import uniopt
from tests.dialects.torch_runs import CASES, SETTINGS, build, falling, gradients_of, of_torch, start_of, without_some
from tests.properties.error_unit import relative
from tests.properties.problems import trajectory
from uniopt import backends
from uniopt.errors import ShapeError
from uniopt.transformation import stage_of

STEPS, CHANGE = 8, 4
RULES: dict[str, tuple[float, ...]] = {
    "scale_by_amsgrad": (),
    "scale_by_asgd": (),
    "scale_by_factored_rms": (),
    "scale_by_radam": (),
    "scale_by_rprop": (0.125,),
    "scale_by_rss": (),
}
"""The rules that the dialects switch, and what they have to be given."""

ON = {"bias_correction", "eps_in_maximum", "eps_in_sqrt"}
"""The switches that are on unless they are turned off."""


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every check with its name."""
    for name, setting in CASES:
        for scale in (1.0, 0.0):
            yield f"torch's {name}, {setting}, from {scale:g}", partial(torch_is_followed, name, setting, scale)
    for name in SETTINGS:
        yield f"parameters of torch's {name}", partial(parameters_are_those_of_torch, name)
    for rule, given in RULES.items():
        yield f"switches of {rule}", partial(switches_are_their_own, rule, *given)
    for check in (
        adafactor_decays_as_it_is_told,
        adafactor_has_two_switches,
        adagrad_counts_where_it_slows_down,
        asgd_averages_as_torch_does,
        asgd_decays_by_its_form,
        counts_are_where_their_leaves_are,
        muon_takes_matrices_alone,
        radam_has_two_switches,
        rprop_is_bound_when_it_is_asked_for,
        weights_shrink_where_the_mask_says,
    ):
        yield check.__name__, check


def parameters_are_those_of_torch(name: str) -> None:
    theirs = list(inspect.signature(getattr(torch.optim, name)).parameters.values())[1:]
    ours = list(inspect.signature(getattr(uniopt.dialects.torch, name)).parameters.values())
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]
    getattr(uniopt.dialects.torch, name)()


def switches_are_their_own(rule: str, *given: float) -> None:
    """Each switch reaches the rule by its own name, and is as it is in optax unless it is asked for."""
    make = getattr(uniopt, rule)
    plain: Any = stage_of(make(*given))
    for name, parameter in inspect.signature(make).parameters.items():
        if isinstance(parameter.default, bool):
            turned: Any = stage_of(make(*given, **{name: not parameter.default}))
            assert parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is (name in ON)
            assert plain.hyper[name] is parameter.default
            assert turned.hyper == {**plain.hyper, name: not parameter.default}, name


def adafactor_has_two_switches() -> None:
    """The last two axes of these matrices are the largest, too."""
    stream = [np.asarray([[1.0, -0.5, 2.0], [0.25, 3.0, -1.0]]), np.asarray([[0.5, 0.5, -2.0], [4.0, 1.0, 0.125]])]

    def updates(**switches: bool) -> Any:
        tx = uniopt.scale_by_factored_rms(min_dim_size_to_factor=1, epsilon=0.5, **switches)
        state, found = tx.init(stream[0]), []
        for gradient in stream:
            update, state = tx.update(gradient, state)
            found.append(update)
        return np.stack(found)

    assert np.array_equal(updates(last_axes=True), updates())
    assert np.array_equal(updates(last_axes=True, clamp_estimate=True), updates(clamp_estimate=True))
    assert not np.allclose(updates(clamp_estimate=True), updates())
    for gradient in (np.asarray([[0.0, 0.0], [1.0, 1.0]]), np.asarray([0.0, 1.0])):  # added, it is no least value
        tx = uniopt.scale_by_factored_rms(min_dim_size_to_factor=1, epsilon=8.0)
        assert np.allclose(tx.update(gradient, tx.init(gradient))[0], gradient / 3)


def adafactor_decays_as_it_is_told() -> None:
    told: list[tuple[int, float]] = []

    def quarter(steps: Any, rate: float) -> float:
        told.append((int(steps), rate))
        return 0.25

    tx = uniopt.scale_by_factored_rms(False, 0.5, 3, epsilon=0.0, decay_rate_fn=quarter)
    state = tx.init(np.asarray([2.0]))
    for _ in range(2):
        _, state = tx.update(np.asarray([2.0]), state)
    assert told == [(-3, 0.5), (-2, 0.5)]
    assert np.array_equal(state.v, [3.75])


def adagrad_counts_where_it_slows_down() -> None:
    one = np.ones(1)
    assert type(uniopt.scale_by_rss().init(one)) is uniopt.ScaleByRssState
    assert type(uniopt.scale_by_rss(rate_decay=0.5).init(one)) is uniopt.ScaleByRssWithCountState


def asgd_averages_as_torch_does() -> None:
    hyper: dict[str, Any] = {"lr": 0.125, "lambd": 0.25, "t0": 2}
    start, stream = np.asarray([1.0, -2.0]), np.asarray([[0.5, 3.0], [1.0, -1.0], [2.0, 0.25], [1.0, 1.0], [0.5, 2.0]])
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = torch.optim.ASGD([parameter], **hyper)
    tx = uniopt.dialects.torch.ASGD(**hyper)
    params, state = start, tx.init(start)
    for gradient in stream:
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        updates, state = tx.update(gradient, state, params)
        params = uniopt.apply_updates(params, updates)
        assert np.allclose(state.inner_state[0].ax, optimizer.state[parameter]["ax"].numpy(), rtol=1e-6, atol=0.0)


def asgd_decays_by_its_form() -> None:
    """Multiplied, a float32 parameter is off in its last digit, as torch's is."""
    p = np.linspace(1.0, 2.0, 99, dtype=np.float32)
    rate, lambd = np.float32(1e-3), np.float32(0.3)
    for tx, expected in (
        (uniopt.dialects.torch.ASGD(lr=1e-3, lambd=0.3), p * np.float32(1 - rate * lambd)),
        (uniopt.scale_by_asgd(1e-3, 0.3, multiply_decay=True), p * np.float32(1 - rate * lambd)),
        (uniopt.scale_by_asgd(1e-3, 0.3, keep_rate=True), p - rate * (lambd * p)),
        (uniopt.scale_by_asgd(1e-3, 0.3), p - rate * (lambd * p)),
    ):
        updates, _ = tx.update(np.zeros_like(p), tx.init(p), p)
        assert np.array_equal(p + updates, expected)
    falling = uniopt.piecewise_constant_schedule(1.0, {1: 0.5})
    for keep, second in ((True, -1.0), (False, -0.5)):
        tx = uniopt.scale_by_asgd(falling, 0.0, keep_rate=keep)
        one = np.ones(1)
        first, state = tx.update(one, tx.init(one), one)
        assert [first[0], tx.update(one, state, one)[0][0]] == [-1.0, second]


def counts_are_where_their_leaves_are() -> None:
    import array_api_strict

    params = [array_api_strict.ones(2, device=array_api_strict.Device(name)) for name in ("CPU_DEVICE", "device1")]
    state = uniopt.count_by_leaf(uniopt.scale(1.0)).init(params)
    assert [count.device for count in state.counts] == [p.device for p in params]
    assert [count.dtype for count in state.counts] == [array_api_strict.int32] * 2


def muon_takes_matrices_alone() -> None:
    params = {"matrix": np.ones((2, 2)), "vector": np.ones(2), "nothing": None}
    tx = uniopt.dialects.torch.Muon()
    said = ""
    try:
        tx.update(params, tx.init(params), params)
    except ShapeError as error:
        said = str(error)
    assert "params['vector'] has shape (2,)" in said


def radam_has_two_switches() -> None:
    """Epsilon's place is one, and what happens at the threshold is another, which no path shows."""
    start, stream = np.asarray([0.5, 2.0]), [np.asarray([1.0, -0.5]), np.asarray([0.25, 3.0])] * 3
    hyper: dict[str, Any] = {"b1": 0.5, "b2": 0.9, "eps": 0.5}

    def path(**switches: bool) -> Any:
        tx = uniopt.scale_by_radam(**hyper, **switches)
        params, state = start, tx.init(start)
        for gradient in stream:
            updates, state = tx.update(gradient, state)
            params = params - updates
        return params

    assert np.array_equal(path(above_threshold=True), path())
    assert np.array_equal(path(above_threshold=True, eps_before_correction=True), path(eps_before_correction=True))
    assert not np.allclose(path(eps_before_correction=True), path())
    assert "above_threshold=True" in repr(uniopt.dialects.torch.RAdam())


def rprop_is_bound_when_it_is_asked_for() -> None:
    g = np.ones(1)
    for switches, first in (({}, 2.0), ({"bound_every_size": True}, 1.5)):
        tx = uniopt.scale_by_rprop(2.0, max_step_size=1.5, **switches)
        assert tx.update(g, tx.init(g))[0] == first


def weights_shrink_where_the_mask_says() -> None:
    params, grads = {"a": np.asarray(2.0), "b": np.asarray(2.0)}, {"a": np.asarray(1.0), "b": np.asarray(1.0)}
    for decay, expected in ((0.25, 0.75), (1.0, 0.0), (0.0, 1.0)):
        tx = uniopt.shrink_weights(0.5, decay, {"a": True, "b": False})
        updates, _ = tx.update(grads, tx.init(params), params)
        assert updates == {"a": expected, "b": 1.0}


def torch_is_followed(name: str, setting: str, scale: float) -> None:
    start, stream, expected = _of_torch(name, setting, scale)
    tx = build(name, setting, **falling(name, setting, CHANGE))
    found = trajectory(tx, start, stream, backends.get("numpy"))
    bound = 0.02 if name == "Muon" else 1e-12
    distance = relative(found, expected)
    assert distance.value <= bound, f"{distance.value:.2g} of the leaf's largest value at step {distance.step}"


@cache
def _of_torch(name: str, setting: str, scale: float) -> tuple[Any, list[Any], list[list[Any]]]:
    """Return parameters, gradients some of which are ``None``, and torch's path."""
    start = start_of(name, "float64", scale)
    stream = without_some(gradients_of(name, "float64", STEPS))
    return start, stream, of_torch(name, setting, start, stream, CHANGE)
