"""torch's schedulers as schedules of the step count."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from uniopt import schedules
from uniopt.errors import PortingError
from uniopt.typing import Schedule


def schedules_of(scheduler: Any) -> list[Schedule]:
    """Return the schedule of each parameter group.

    Raises
    ------
    PortingError
        If the scheduler depends on more than the step count, or moves more than the learning rate.
    """
    name = type(scheduler).__name__
    if name in _REASONS:
        raise PortingError(f"{name} {_REASONS[name]} Port without it, and give the optimizer a schedule of your own.")
    if name not in _SCHEDULES or not type(scheduler).__module__.startswith("torch.optim"):
        raise PortingError(
            f"The scheduler is {scheduler!r}, expected one of torch.optim.lr_scheduler: {', '.join(_SCHEDULES)}."
        )
    if getattr(scheduler, "cycle_momentum", False):
        raise PortingError(
            f"{name} moves the momentum too, for which there is no schedule here. Make it with "
            "cycle_momentum=False, or port without it."
        )
    return [_SCHEDULES[name](scheduler, i) for i in range(len(scheduler.optimizer.param_groups))]


def _rate(scheduler: Any, i: int) -> float:
    return float(scheduler.base_lrs[i])


def _multi_step(scheduler: Any, i: int) -> Schedule:
    scales = {n: scheduler.gamma**times for n, times in sorted(scheduler.milestones.items())}
    return schedules.piecewise_constant_schedule(_rate(scheduler, i), scales)


def _constant(scheduler: Any, i: int) -> Schedule:
    factor = scheduler.factor
    if factor == 0.0:  # cannot be multiplied away
        parts = [schedules.constant_schedule(0.0), schedules.constant_schedule(_rate(scheduler, i))]
        return schedules.join_schedules(parts, [scheduler.total_iters])
    return schedules.piecewise_constant_schedule(_rate(scheduler, i) * factor, {scheduler.total_iters: 1 / factor})


def _restarts(scheduler: Any, i: int) -> Schedule:
    rate = _rate(scheduler, i)
    return schedules.cosine_restarts_schedule(
        rate, scheduler.T_0, t_mul=float(scheduler.T_mult), alpha=float(scheduler.eta_min) / rate
    )


def _cyclic(scheduler: Any, i: int) -> Schedule:
    if scheduler._scale_fn_custom is not None:
        raise PortingError("CyclicLR has a scale_fn of its own. Port without it, and write the schedule as a function.")
    rise = scheduler.step_ratio * scheduler.total_size
    mode = scheduler.mode
    return schedules.cyclic_schedule(
        _rate(scheduler, i),
        float(scheduler.max_lrs[i]),
        rise,
        scheduler.total_size - rise,
        decay_per_cycle=0.5 if mode == "triangular2" else 1.0,
        decay_per_step=scheduler.gamma if mode == "exp_range" else 1.0,
    )


def _one_cycle(scheduler: Any, i: int) -> Schedule:
    group = scheduler.optimizer.param_groups[i]
    kind = "cosine" if scheduler._anneal_func_type == "cos" else "linear"
    phases = scheduler._schedule_phases
    scales = {phase["end_step"]: group[phase["end_lr"]] / group[phase["start_lr"]] for phase in phases}
    return schedules.piecewise_interpolate_schedule(kind, float(group[phases[0]["start_lr"]]), scales)


def _sequence(scheduler: Any, i: int) -> Schedule:
    parts = [schedules_of(part)[i] for part in scheduler._schedulers]
    return schedules.join_schedules(parts, scheduler._milestones)


_SCHEDULES: dict[str, Callable[[Any, int], Schedule]] = {
    "StepLR": lambda s, i: schedules.exponential_decay(_rate(s, i), s.step_size, s.gamma, staircase=True),
    "MultiStepLR": _multi_step,
    "ConstantLR": _constant,
    "LinearLR": lambda s, i: schedules.linear_schedule(
        _rate(s, i) * s.start_factor, _rate(s, i) * s.end_factor, s.total_iters
    ),
    "ExponentialLR": lambda s, i: schedules.exponential_decay(_rate(s, i), 1, s.gamma),
    "PolynomialLR": lambda s, i: schedules.polynomial_schedule(_rate(s, i), 0.0, s.power, s.total_iters),
    "CosineAnnealingLR": lambda s, i: schedules.cosine_annealing_schedule(_rate(s, i), s.T_max, float(s.eta_min)),
    "CosineAnnealingWarmRestarts": _restarts,
    "CyclicLR": _cyclic,
    "OneCycleLR": _one_cycle,
    "SequentialLR": _sequence,
}

_REASONS = {
    "LambdaLR": "multiplies by a function of your own, which may be anything.",
    "MultiplicativeLR": "multiplies by a function of your own, which may be anything.",
    "ReduceLROnPlateau": "depends on the losses, not on the step alone: it is uniopt.reduce_on_plateau.",
    "ChainedScheduler": "lets several schedulers change one learning rate one after another.",
}


def check_position(schedule: Schedule, position: int, rate: float, label: str) -> None:
    """Raise PortingError unless a schedule has the learning rate that a group has at its position."""
    found = float(schedule(position))
    # torch multiplies the rate of the step before, which drifts over many steps.
    if not math.isclose(found, rate, rel_tol=1e-6, abs_tol=1e-12):
        raise PortingError(
            f"The learning rate of {label} is {rate!r}, where the scheduler at step {position} has {found!r}: it "
            "was changed by something else. Port without the scheduler to keep it, or let the scheduler set it."
        )


_AHEAD = 1000  # steps for which two schedules are compared


def check_same(rate: Any, scheduler: Schedule | None, path: str, position: int) -> None:
    """Raise PortingError unless a scheduler, as a schedule, has the values of a learning rate from a position on."""
    if scheduler is not None and not callable(rate):
        raise PortingError(
            f"The learning rate of {path} is {rate!r} and follows no schedule. Port without a scheduler."
        )
    if scheduler is None and callable(rate):
        raise PortingError(
            f"The learning rate of {path} follows {rate!r}, and torch has schedulers for that. Pass scheduler=, one of "
            "the optimizer with the same values."
        )
    if scheduler is None:
        return
    for n in range(position, position + _AHEAD):
        x, y = float(rate(n)), float(scheduler(n))
        if not math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-12):
            raise PortingError(
                f"The learning rate of {path} follows {rate!r}, the scheduler {scheduler!r}: at step {n} they are "
                f"{x!r} and {y!r}. Pass a scheduler with the same values."
            )


def go_to(scheduler: Any, position: int) -> None:
    """Step a scheduler until it has been stepped a number of times."""
    if scheduler.last_epoch > position:
        raise PortingError(
            f"The scheduler has been stepped {scheduler.last_epoch} times, and is to be at step {position}. "
            "Pass a new one."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch expects steps of the optimizer in between
        while scheduler.last_epoch < position:
            scheduler.step()
