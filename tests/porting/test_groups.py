"""torch's groups of parameters and its schedulers, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import uniopt
from tests.porting.runs import SHAPES, Named, TorchRun, error, gradients_of, start_of, uniopt_run
from tests.porting.test_torch import transposed
from uniopt import porting
from uniopt.errors import PortingError

STEPS = 10
START, STREAM = start_of("float64"), gradients_of("float64", 3 * STEPS)
GROUPS = [
    (["dense.bias", "gain"], {"lr": 0.01, "weight_decay": 0.0}),
    (["conv.weight"], {"betas": (0.5, 0.75), "maximize": True}),
    (["dense.weight"], {}),
]  # not norm.weight, which stays as it is


@pytest.mark.parametrize("convert", [None, transposed], ids=["named", "transposed"])
def test_groups_become_a_partition(convert: Any) -> None:
    whole, begun = (TorchRun("AdamW", START, {"lr": 0.1}, GROUPS) for _ in range(2))
    begun.run(STREAM[:STEPS])
    tx, state = porting.from_torch(begun.optimizer, begun.named, "numpy", convert)
    make = convert or dict
    params, state = uniopt_run(tx, state, make(begun.params), [make(g) for g in STREAM[STEPS : 2 * STEPS]], "numpy")
    assert error(params, make(whole.run(STREAM[: 2 * STEPS]).params), make(START)) <= 64
    assert set(state.inner_states) == {"group 0", "group 1", "group 2", "frozen"}

    reached = START | whole.params
    back = TorchRun("AdamW", reached, {}, [(names, {}) for names, _ in GROUPS])
    porting.to_torch(tx, state, back.optimizer, back.named, convert)
    assert [group["maximize"] for group in back.optimizer.param_groups] == [False, True, False]
    assert error(back.run(STREAM[2 * STEPS :]).params, whole.run(STREAM[2 * STEPS :]).params, START) <= 64


def test_a_mask_becomes_a_group() -> None:
    tx = uniopt.adamw(0.1, weight_decay=0.3, mask=lambda p: {name: x.ndim > 1 for name, x in p.items()})
    params, state = uniopt_run(tx, tx.init(START), START, STREAM[:STEPS], "numpy")
    expected, _ = uniopt_run(tx, state, params, STREAM[STEPS : 2 * STEPS], "numpy")
    large, small = (["conv.weight", "dense.weight"], {}), (["dense.bias", "gain", "norm.weight"], {})
    run = TorchRun("AdamW", params, {}, [large, small])
    porting.to_torch(tx, state, run.optimizer, run.named)
    assert [group["weight_decay"] for group in run.optimizer.param_groups] == [0.3, 0.0]
    assert error(run.run(STREAM[STEPS : 2 * STEPS]).params, expected, START) <= 64
    together = TorchRun("AdamW", params, {})
    with pytest.raises(PortingError, match=r"'conv.weight'.*'dense.bias'.* differ in weight_decay"):
        porting.to_torch(tx, state, together.optimizer, together.named)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RAdam", "Adagrad", "RMSprop", "Rprop", "ASGD", "Adafactor"])
def test_a_state_dict_is_enough(name: str) -> None:
    """Its class is told by the entries of its groups."""
    hyper = {"momentum": 0.5} if name in ("SGD", "RMSprop") else {}
    run = TorchRun(name, START, hyper).run(STREAM[:STEPS])
    live, saved = (porting.from_torch(x, run.named, "numpy") for x in (run.optimizer, run.optimizer.state_dict()))
    assert saved[0] == live[0]
    for x, y in zip(uniopt.tree.leaves(live[1]), uniopt.tree.leaves(saved[1]), strict=True):
        np.testing.assert_array_equal(x, y)


Schedulers = dict[str, Callable[[Any], Any]]
SCHEDULERS: Schedulers = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 4, 0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [4, 13, 13], 0.5),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.25, 14),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.25, 0.75, 15),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 25, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 12, 0.01),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 2, 0.01),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.5, 4, 7, mode="triangular2", cycle_momentum=False),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.5, 50, cycle_momentum=False),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 13), lr_scheduler.ExponentialLR(o, 0.9)], [13]
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # SequentialLR gives it
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_become_schedules_at_their_position(name: str) -> None:
    def new(params: Named) -> TorchRun:
        run = TorchRun("AdamW", params, {"lr": 0.1}, [(list(SHAPES)[:2], {"lr": 0.05}), (list(SHAPES)[2:], {})])
        run.scheduler = SCHEDULERS[name](run.optimizer)
        return run

    whole, begun = new(START), new(START).run(STREAM[:STEPS])
    tx, state = porting.from_torch(begun.optimizer, begun.named, "numpy", scheduler=begun.scheduler)
    params, state = uniopt_run(tx, state, begun.params, STREAM[STEPS : 2 * STEPS], "numpy")
    assert error(params, whole.run(STREAM[: 2 * STEPS]).params, START) <= 256

    back = new(params)
    with pytest.raises(PortingError, match="Pass scheduler="):
        porting.to_torch(tx, state, back.optimizer, back.named)
    porting.to_torch(tx, state, back.optimizer, back.named, scheduler=back.scheduler)
    assert error(back.run(STREAM[2 * STEPS :]).params, whole.run(STREAM[2 * STEPS :]).params, START) <= 256


@pytest.mark.parametrize("name", ["ASGD", "AdamW", "Adafactor"])
def test_a_schedule_goes_on_while_a_group_pauses(name: str) -> None:
    """The steps of one group are fewer than those of the scheduler."""
    stream = [{k: g for k, g in gradient.items() if n > 3 or k != "gain"} for n, gradient in enumerate(STREAM[:20])]

    def new(params: Named) -> TorchRun:
        run = TorchRun(name, params, {"lr": 0.1}, [(["gain"], {}), (_without(START, "gain"), {})])
        run.scheduler = lr_scheduler.ExponentialLR(run.optimizer, 0.9)
        return run

    whole, begun = new(START).run(stream), new(START).run(stream[:STEPS])
    tx, state = porting.from_torch(begun.optimizer, begun.named, "numpy", scheduler=begun.scheduler)
    params, _ = uniopt_run(tx, state, begun.params, stream[STEPS:], "numpy")
    assert error(params, whole.params, START) <= 256


REFUSED: Schedulers = {
    "LambdaLR multiplies by a function": lambda o: lr_scheduler.LambdaLR(o, lambda n: 0.9**n),
    "MultiplicativeLR multiplies": lambda o: lr_scheduler.MultiplicativeLR(o, lambda n: 0.9),
    "ReduceLROnPlateau depends on the losses": lr_scheduler.ReduceLROnPlateau,
    "ChainedScheduler lets several": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 4)]),
    "OneCycleLR moves the momentum": lambda o: lr_scheduler.OneCycleLR(o, 0.5, 50),
    "expected one of torch.optim.lr_scheduler": lambda o: object(),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_other_schedulers_are_refused(reason: str) -> None:
    run = TorchRun("Adam", START, {"lr": 0.1})
    with pytest.raises(PortingError, match=reason):
        porting.from_torch(run.optimizer, run.named, scheduler=REFUSED[reason](run.optimizer))


def test_a_scheduler_that_is_elsewhere_is_refused() -> None:
    run = TorchRun("Adam", START, {"lr": 0.1}).run(STREAM[:4])
    scheduler = lr_scheduler.StepLR(run.optimizer, 2)
    with pytest.raises(PortingError, match="stepped 0 times, the optimizer 4 times"):
        porting.from_torch(run.optimizer, run.named, scheduler=scheduler)
    run = TorchRun("SGD", START, {"lr": 0.1})
    scheduler = lr_scheduler.StepLR(run.optimizer, 2)
    run.optimizer.param_groups[0]["lr"] = 0.3
    with pytest.raises(PortingError, match=r"group 0 is 0\.3, where the scheduler at step 0 has 0\.1"):
        porting.from_torch(run.optimizer, run.named, scheduler=scheduler)


def test_another_schedule_is_refused() -> None:
    tx = uniopt.adam(uniopt.exponential_decay(0.1, 1, 0.9))
    run = TorchRun("Adam", START, {"lr": 0.1})
    scheduler = lr_scheduler.ExponentialLR(run.optimizer, 0.8)
    with pytest.raises(PortingError, match="at step 1 they are"):
        porting.to_torch(tx, tx.init(START), run.optimizer, run.named, scheduler=scheduler)
    assert scheduler.last_epoch == 0


CLIPPED = uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adam(0.1))
# Transformations, and what torch optimizer they are not: the reason names the switch.
UNLIKE: dict[str, tuple[str, dict[str, Any], Any]] = {
    "momentum_decay is 0.0, not None": ("NAdam", {}, uniopt.nadam(0.1)),
    "eps_before_correction is False, not True": ("Adam", {}, uniopt.dialects.keras.Adam(0.1)),
    "bias_correction_nu is False, not True": ("Adam", {"amsgrad": True}, uniopt.amsgrad(0.1)),
    "scale_by_amsgrad, but torch.optim.RMSprop": ("RMSprop", {}, uniopt.amsgrad(0.1)),
    "eps_in_sqrt is False, not True": ("Adagrad", {}, uniopt.adagrad(0.1)),
    "eps_before_correction is True, not False": ("RAdam", {}, uniopt.radam(0.1)),
    "decoupled_decay is 0.0, not 0.2": ("Adamax", {}, uniopt.adamaxw(0.1, weight_decay=0.2)),
    "decoupled_decay is 0.0, not 0.1": ("SGD", {}, uniopt.dialects.keras.SGD(0.1, momentum=0.5, weight_decay=0.1)),
    "scale_by_schedule and trace": ("RMSprop", {}, uniopt.rmsprop(lambda n: 0.1, eps_in_sqrt=False, momentum=0.5)),
    "scale_by_lion, but torch.optim.SGD": ("SGD", {}, uniopt.lion(0.1)),
    "clip_by_global_norm and scale_by_adam": ("Adam", {}, CLIPPED),
    "MultiSteps": ("Adam", {}, uniopt.MultiSteps(uniopt.adam(0.1), 2)),
}


@pytest.mark.parametrize("reason", UNLIKE)
def test_what_torch_does_otherwise_is_refused(reason: str) -> None:
    """And the optimizer is as it was."""
    name, hyper, tx = UNLIKE[reason]
    run = TorchRun(name, START, hyper).run(STREAM[:2])
    before = copy.deepcopy(run.optimizer.state_dict())
    with pytest.raises(PortingError) as refusal:
        porting.to_torch(tx, tx.init(START), run.optimizer, run.named)
    assert reason in str(refusal.value)
    assert repr(run.optimizer.state_dict()) == repr(before)


def test_steps_that_differ_from_parameter_to_parameter_are_refused_by_optax() -> None:
    pytest.importorskip("optax")
    stream = gradients_of("float32", 5)
    for gradient in stream[:3]:
        gradient.pop("gain")
    run = TorchRun("Adam", start_of("float32"), {}).run(stream)
    tx, state = porting.from_torch(run.optimizer, run.named, "numpy")
    with pytest.raises(PortingError, match=r"params\['gain'\].* its steps are 5, not 2"):
        porting.to_optax(tx, state, run.params)


def test_buffers_that_are_none_have_not_begun() -> None:
    """As earlier versions of torch keep them."""
    run = TorchRun("SGD", START, {"lr": 0.1, "momentum": 0.5, "dampening": 0.25})
    for p in run.named.values():
        run.optimizer.state[p] = {"momentum_buffer": None}
    _, state = porting.from_torch(run.optimizer, run.named, "numpy")
    assert bool(uniopt.tree_get(state, "is_initial_step")["gain"])


def test_what_convert_must_not_do() -> None:
    run = TorchRun("SGD", START, {"momentum": 0.5}).run(STREAM[:2])
    for convert, reason in (
        (
            lambda named: {"w": named["dense.weight"] * 2.0, **_without(named, "dense.weight")},
            r"changed values at params\['w'\]",
        ),
        (lambda named: _without(named, "gain"), "left out elements of gain"),
        (lambda named: {**named, "tied": named["gain"]}, "put twice elements of gain"),
        (lambda named: {**_without(named, "gain"), "gain": named["gain"] + 0.5}, r"changed values at params\['gain'\]"),
        (lambda named: {**named, "name": "model"}, "expected an array"),
        (lambda named: {name: x.detach() for name, x in named.items()}, "It is given a dict of NumPy arrays"),
    ):
        with pytest.raises(PortingError, match=reason):
            porting.from_torch(run.optimizer, run.named, convert=convert)


def _without(named: Named, name: str) -> Named:
    return {key: x for key, x in named.items() if key != name}


def test_parameters_of_several_groups_in_one_leaf_are_refused() -> None:
    def stacked(named: Named) -> Named:
        return {"all": np.concatenate([x.ravel() for x in named.values()])}

    run = TorchRun("SGD", START, {"momentum": 0.5}, [(["gain"], {}), (_without(START, "gain"), {"lr": 0.1})])
    with pytest.raises(PortingError, match=r"the parameter group is 'group 1' and 'group 0'"):
        porting.from_torch(run.optimizer, run.named, convert=stacked)


def test_layers_stacked_into_one_leaf() -> None:
    """As for a scan over layers: moments and counts."""
    shapes = {f"layers.{k}.weight": (3, 5) for k in range(3)}

    def stacked(named: Named) -> Named:
        return {"weight": np.stack([named[name].T for name in shapes])}

    start, stream = start_of("float64", shapes), gradients_of("float64", 2 * STEPS, shapes)
    for name in ("Adam", "NAdam"):
        whole, begun = TorchRun(name, start, {}).run(stream), TorchRun(name, start, {}).run(stream[:STEPS])
        tx, state = porting.from_torch(begun.optimizer, begun.named, "numpy", stacked)
        params, _ = uniopt_run(tx, state, stacked(begun.params), [stacked(g) for g in stream[STEPS:]], "numpy")
        assert error(params, stacked(whole.params), stacked(start)) <= 64


def test_moments_that_lose_digits_are_refused() -> None:
    tx = uniopt.adam(0.1)
    _, state = uniopt_run(tx, tx.init(START), START, STREAM[:2], "numpy")
    model = {name: torch.zeros(shape, dtype=torch.bfloat16, requires_grad=True) for name, shape in SHAPES.items()}
    with pytest.raises(PortingError, match=r"loses digits as torch\.bfloat16"):
        porting.to_torch(tx, state, torch.optim.Adam(model.values()), model)


def test_moments_of_16_bits_become_float32() -> None:
    model = {name: torch.from_numpy(x).bfloat16().requires_grad_() for name, x in START.items()}
    optimizer = torch.optim.Adam(model.values(), lr=0.1)
    for gradient in STREAM[:3]:
        for name, p in model.items():
            p.grad = torch.from_numpy(gradient[name]).bfloat16()
        optimizer.step()
    _, state = porting.from_torch(optimizer, model, "numpy")
    for name, p in model.items():
        mu = uniopt.tree_get(state, "mu")[name]
        assert mu.dtype == np.float32
        np.testing.assert_array_equal(mu, optimizer.state[p]["exp_avg"].float().numpy())


def test_a_file_is_enough(tmp_path: Path) -> None:
    run = TorchRun("AdamW", START, {"lr": 0.1}, GROUPS).run(STREAM[:STEPS])
    torch.save(run.optimizer.state_dict(), tmp_path / "optimizer.pt")
    saved = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    ordered = {name: run.named[name] for names, _ in GROUPS for name in names}
    (tx, state), live = porting.from_torch(saved, ordered, "numpy"), porting.from_torch(run.optimizer, ordered, "numpy")
    assert tx == live[0]
    for x, y in zip(uniopt.tree.leaves(state), uniopt.tree.leaves(live[1]), strict=True):
        np.testing.assert_array_equal(x, y)


def test_names_that_do_not_fit_are_refused() -> None:
    run = TorchRun("Adam", START, {})
    with pytest.raises(PortingError, match="none of named_parameters"):
        porting.from_torch(run.optimizer, {"gain": run.named["gain"]})
    with pytest.raises(PortingError, match="of 5 parameters, named_parameters are gain"):
        porting.from_torch(run.optimizer.state_dict(), {"gain": run.named["gain"]})
    with pytest.raises(PortingError, match=r"torch.optim.lbfgs.LBFGS, expected one of torch.optim: SGD"):
        porting.from_torch(torch.optim.LBFGS(run.named.values()), run.named)
