"""Cases of the transformations by themselves, for what no optimizer passes on: their own defaults and switches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from uniopt.conformance.cases import SUBJECTS, Case
from uniopt.conformance.problems import PROBLEMS, SEED, Problem
from uniopt.conformance.reference import OPTIMIZERS, averages
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from tests.mutation import loops
from tests.mutation.loops import RATE
from uniopt import GradientTransformation, MuonDimensionNumbers

Make = Callable[..., GradientTransformation]
Hyper = Mapping[str, Any]


def _axes(kernel: tuple[Any, Any], matrix: tuple[Any, Any]) -> Written:
    """Return the axes of the matrices in the problems' leaves of rank 4 and 2; the others have none."""
    none = {"empty": None, "scalar": None, "vector": (None, None)}
    numbers = {"kernel": [MuonDimensionNumbers(*kernel), None], "matrix": MuonDimensionNumbers(*matrix)}
    return Written({**none, **numbers}, (None, kernel, None, matrix, None, None, None))


TALL, WIDE = _axes(((0, 2), -1), (1, 0)), _axes((-1, (0, 2)), (0, 1))
LATE = {"default": {"learning_rate": 0.125}, "etas": SETTINGS["rprop"]["etas"]}


def cases() -> Iterator[Case]:
    """Yield each setting on normal gradients, in full and in brief, and the first one on every problem."""
    for name, make, reference, settings in (*_of_rules(), *_with_switches(), *_with_other_numbers()):
        for i, (setting, hyper) in enumerate(settings.items()):
            for problem in PROBLEMS.values():
                if problem.name in ("normal", "brief") or i == 0:
                    yield Case(name, setting, problem, hyper, make, reference)
    make, reference = _scaled("scale_by_muon"), partial(OPTIMIZERS["muon"], learning_rate=RATE)
    for setting, hyper in _MUON.items():
        for problem in (_matrices(1.0), _matrices(1e-6)):
            yield Case("scale_by_muon", setting, problem, hyper, _shaped(make), reference)


_MUON: dict[str, Hyper] = {
    "default": {},
    "raw": {"bias_correction": False, "beta": 0.5},
    "raw_sum": {"bias_correction": False, "average_gradients": False, "nesterov": False},
    "sum": {"average_gradients": False, "beta": 0.5, "adaptive": True},
    "aol": {"preconditioning": "aol", "ns_steps": 2},
    "schatten": {"preconditioning": "schatten", "nesterov": False},
    "spectral": {"preconditioning": "spectral", "eps": 0.125},
    "clamped": {"clamp_norm": True, "eps": 0.5},
    "rounded": {"ns_dtype": "float32", "ns_steps": 1},
}


def _of_rules() -> Iterator[tuple[str, Make, Callable[..., Any], dict[str, Hyper]]]:
    """Yield each rule with its own defaults, and the optimizer that is the same but for the rate."""
    for name, optimizer, given in (
        ("scale_by_belief", "adabelief", {}),
        ("scale_by_adadelta", "adadelta", {}),
        ("scale_by_rss", "adagrad", {}),
        ("scale_by_adam", "adam", {}),
        ("scale_by_amsgrad", "amsgrad", {}),
        ("scale_by_adamax", "adamax", {}),
        ("scale_by_adan", "adan", {"eps_root": 0.0}),
        ("scale_by_lion", "lion", {"weight_decay": 0.0}),
        ("scale_by_novograd", "novograd", {"eps": 1e-8}),
        ("scale_by_optimistic_gradient", "optimistic_gradient_descent", {}),
        ("scale_by_radam", "radam", {}),
        ("scale_by_rms", "rmsprop", {}),
        ("scale_by_stddev", "rmsprop", {"centered": True}),
        ("scale_by_sm3", "sm3", {}),
        ("scale_by_yogi", "yogi", {}),
    ):
        yield name, _scaled(name), partial(OPTIMIZERS[optimizer], learning_rate=RATE, **given), {"default": {}}
    for name, optimizer in (("scale_by_asgd", "asgd"), ("scale_by_ftrl", "ftrl")):  # their rate is inside
        yield name, getattr(uniopt, name), OPTIMIZERS[optimizer], _without("weight_decay", SETTINGS[optimizer])
    yield "scale_by_polyak", _scaled("scale_by_polyak", 1.0), OPTIMIZERS["polyak_sgd"], {"default": {}, "far": _FAR}
    yield "scale_by_rprop", _scaled("scale_by_rprop", 1.0), OPTIMIZERS["rprop"], SETTINGS["rprop"]
    plain = {"multiply_by_parameter_scale": False, "clipping_threshold": None}
    yield (
        "scale_by_factored_rms",
        _scaled("scale_by_factored_rms"),
        partial(OPTIMIZERS["adafactor"], learning_rate=RATE, **plain),
        {"factored": {"min_dim_size_to_factor": 2}, "default": {}},
    )


_FAR: Hyper = {"f_min": -1000.0}


def _with_switches() -> Iterator[tuple[str, Make, Callable[..., Any], dict[str, Hyper]]]:
    """Yield what no optimizer's default switches on, with its loops."""
    momentum = {"default": {"momentum": 0.5, "dampening": 0.25}, "alone": {"momentum": 0.0, "dampening": 0.25}}
    nesterov = {**momentum, "nesterov": {"momentum": 0.75, "dampening": 0.5, "nesterov": True}}
    sgd = partial(OPTIMIZERS["sgd"], learning_rate=RATE)
    yield "dampened", partial(uniopt.sgd, RATE), sgd, nesterov
    yield "undampened", partial(uniopt.sgd, RATE, undampened_first_step=True), _undampened, nesterov
    yield "trace", _momentum, sgd, {"undampened": {"momentum": 0.5}, **momentum}
    yield (
        "scale_by_sm3",
        _scaled("scale_by_sm3"),
        loops.forgetting_sm3,
        {"forgetting": {"b1": 0.5, "b2": 0.75, "eps": 0.125}, "forgetful": {"b2": 0.5}, "sum": {"eps": 0.125}},
    )
    yield "late", uniopt.dialects.optax.rprop, loops.late_rprop, LATE
    yield (
        "doubled",
        partial(uniopt.dialects.optax.optimistic_gradient_descent, RATE, zero_first_gradient=True),
        loops.doubled_optimistic,
        {"default": {"alpha": 0.5, "beta": 0.25}},
    )
    yield (
        "averaged_adafactor",
        partial(uniopt.adafactor, RATE, dtype_momentum="float64"),
        partial(OPTIMIZERS["adafactor"], learning_rate=RATE),
        {"default": {"momentum": 0.5, "weight_decay_rate": 0.25, "clipping_threshold": 0.75}},
    )
    yield (
        "matrices",
        partial(uniopt.muon, RATE),
        partial(OPTIMIZERS["muon"], learning_rate=RATE),
        {
            "default": {"muon_weight_dimension_numbers": TALL},
            "wide": {"muon_weight_dimension_numbers": WIDE},
            "shape": {"muon_weight_dimension_numbers": TALL, "consistent_rms": 0.25, "preconditioning": "aol"},
            "schatten": {"muon_weight_dimension_numbers": TALL, "preconditioning": "schatten", "adaptive": True},
            "spectral": {"muon_weight_dimension_numbers": TALL, "preconditioning": "spectral"},
        },
    )


def _with_other_numbers() -> Iterator[tuple[str, Make, Callable[..., Any], dict[str, Hyper]]]:
    """Yield transformations with numbers at which some of their tokens begin to matter."""
    for name, settings in _NUMBERS.items():
        subject = SUBJECTS[name]
        given = {setting: {"learning_rate": RATE, **hyper} for setting, hyper in settings.items()}
        yield name, partial(subject.make, uniopt), subject.reference, given


_NUMBERS: dict[str, dict[str, Hyper]] = {
    "adaptive_grad_clip": {"short": {"clipping": 1e-9, "eps": 0.5}},
    "add_decayed_weights": {"nothing": {}, "whole": {"weight_decay": 1.0}},
    "clip": {"two": {"max_delta": 2.0}},
    "clip_by_block_rms": {"one": {"threshold": 1.0}},
    "clip_by_global_norm": {"three": {"max_norm": 3.0}, "six": {"max_norm": 6.0}, "nothing": {"max_norm": 0.0}},
    "normalize_by_update_norm": {"bare": {"eps": 0.0}},
    "scale_by_trust_ratio": {"high": {"min_norm": 2.0, "trust_coefficient": 0.5, "eps": 0.125}},
}


def _undampened(params: Any, gradients: Any, *, momentum: float, **hyper: Any) -> Any:
    given = {"learning_rate": RATE, "decay": momentum, "undampened_first_step": True, **hyper}
    return averages.trace(params, gradients, **given)


def _scaled(name: str, rate: float = RATE) -> Make:
    """Return what makes a transformation into an optimizer."""
    transformation = getattr(uniopt, name)
    return lambda **hyper: uniopt.chain(transformation(**hyper), uniopt.scale(-rate))


def _shaped(make: Make) -> Make:
    return lambda **hyper: uniopt.chain(make(**hyper), uniopt.scale_by_shape())


def _momentum(momentum: float, **hyper: float) -> GradientTransformation:
    return uniopt.chain(uniopt.trace(momentum, **hyper), uniopt.scale(-RATE))


def _without(name: str, settings: Mapping[str, Hyper]) -> dict[str, Hyper]:
    return {setting: {key: x for key, x in hyper.items() if key != name} for setting, hyper in settings.items()}


def _matrices(scale: float) -> Problem:
    """Return a problem of matrices alone: wide, tall, square, and with equal singular values."""
    rng = np.random.default_rng(SEED)

    def draw() -> Any:
        return {shape: scale * rng.standard_normal(shape) for shape in ((2, 3), (5, 3), (3, 3))}

    def tree() -> Any:
        return {f"{m}x{n}": x for (m, n), x in draw().items()} | {"equal": scale * np.eye(3, 4)}

    return Problem(f"matrices_{scale:g}", tree(), tuple(tree() for _ in range(4)), scale)
