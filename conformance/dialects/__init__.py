"""The dialects: each of their constructors by its name, such as ``torch.AdamW``, with what it is tested with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from uniopt.conformance.composition import of_dialect
from uniopt.conformance.dialects import keras, mlx, optax, torch
from uniopt.conformance.problems import MATRICES, PROBLEMS
from uniopt.conformance.settings import Written
from uniopt.conformance.subjects import Subject

import uniopt
from uniopt import dialects

RATE = 0.125
"""The learning rate where a setting names none: MLX holds it in float32."""

SETTINGS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "keras": keras.SETTINGS,
    "mlx": mlx.SETTINGS,
    "optax": optax.SETTINGS,
    "torch": torch.SETTINGS,
}
_FALL = 2  # the shortest problem has four steps
_PROBLEMS = ("normal", "brief", "even")
_WITHOUT_SOME = ("skipped", "late")  # for torch, which counts the steps of each parameter


def constructors() -> dict[str, Callable[..., Any]]:
    """Return what makes an optimizer in each dialect, but for what is uniopt's own."""
    return {
        f"{dialect}.{name}": f
        for dialect in SETTINGS
        for name, f in vars(getattr(dialects, dialect)).items()
        if inspect.isfunction(f) and name[0] != "_" and f.__module__.startswith(f"uniopt.dialects.{dialect}")
    }


def falling(rate: float, at: int) -> Written:
    """Return a learning rate that is a quarter from some step on."""
    return Written(uniopt.piecewise_constant_schedule(rate, {at: 0.25}), partial(_falling, rate, at))


def _falling(rate: float, at: int, step: int) -> float:
    return rate if step < at else rate / 4


def _with_rate(name: str, setting: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with a rate: the framework's own by default, else one that falls."""
    dialect, _, constructor = name.partition(".")
    if dialect == "optax" or name == "torch.Rprop":
        return dict(hyper)  # its rates are there, or it takes a number alone
    key = "lr" if dialect == "torch" else "learning_rate"
    own = inspect.signature(getattr(getattr(dialects, dialect), constructor)).parameters[key].default
    if own is None and key not in hyper:
        return dict(hyper)  # it makes its own
    if setting == "default":
        return {**hyper, key: RATE} if own is inspect.Parameter.empty else dict(hyper)
    return {**hyper, key: falling(hyper.get(key, RATE), _FALL)}


def _subject(dialect: str, constructor: str) -> Subject:
    name = f"{dialect}.{constructor}"
    make, settings = of_dialect(dialect, constructor), SETTINGS[dialect][constructor]
    given = {setting: _with_rate(name, setting, hyper) for setting, hyper in settings.items()}
    if name == "torch.Muon":  # it takes nothing but matrices, and multiplies them in bfloat16
        return Subject(make, None, given, (MATRICES,), needs=("bfloat16",))
    problems = (*_PROBLEMS, *(_WITHOUT_SOME if dialect == "torch" else ()))
    return Subject(make, None, given, tuple(PROBLEMS[problem] for problem in problems))


DIALECTS = {f"{dialect}.{name}": _subject(dialect, name) for dialect, known in SETTINGS.items() for name in known}
"""The constructors that are tested."""
