"""The optimizers of torch.optim, by their names: a changed import line is all that a training script needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from uniopt.dialects import torch as dialect
from uniopt.errors import DtypeKindError, ShapeError
from uniopt.integrations.torch.meaning import OfConstructor
from uniopt.integrations.torch.optimizer import Optimizer, Params
from uniopt.integrations.torch.slots import Naming
from uniopt.integrations.torch.state import STEP
from uniopt.transformation import GradientTransformation


def _naming(
    names: dict[str, str],
    optional: tuple[str, ...] = (),
    ignored: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
) -> Naming:
    """Return torch's names of slots that hold what torch's hold."""
    return Naming({"counts": STEP, **names}, frozenset(optional), frozenset(ignored), frozenset(flags), common=False)


_SGD = _naming({"trace": "momentum_buffer"}, flags=("is_initial_step",))  # torch has no buffer before the first step
_ADAM = _naming({"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"})
_ADADELTA = _naming({"e_g": "square_avg", "e_x": "acc_delta"}, ignored=("step",))
_RPROP = _naming({"step_sizes": "step_size", "prev_updates": "prev"}, ignored=("step",))
_RMSPROP = _naming({"nu": "square_avg", "mu": "grad_avg", "trace": "momentum_buffer"}, ignored=("step",))
_FACTORS = {"v_row": "row_var", "v_col": "col_var", "v": "variance"}
_ADAFACTOR = _naming(_FACTORS, optional=tuple(_FACTORS.values()))  # torch has no array where ours is a placeholder


class DropIn(Optimizer):
    """An optimizer of torch.optim: its name, its arguments, its results; made of a function of the dialect."""

    _constructor: Callable[..., GradientTransformation]
    _takes_complex = True

    def __init_subclass__(
        cls,
        constructor: Callable[..., GradientTransformation] | None = None,
        naming: Naming = Optimizer._naming,
        takes_complex: bool = True,
        takes_sparse: bool = False,
    ) -> None:
        super().__init_subclass__()
        if constructor is None:  # a subclass of one of the classes below
            return
        cls._constructor = staticmethod(constructor)
        cls._naming = naming
        cls._takes_complex = takes_complex
        cls._takes_sparse = takes_sparse
        positional = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="Params")
        own = inspect.signature(constructor)
        cls.__signature__ = own.replace(  # type: ignore[attr-defined]  # what inspect.signature looks for
            parameters=[positional, *own.parameters.values()], return_annotation=inspect.Signature.empty
        )
        cls.__doc__ = _documentation(constructor)

    def __init__(self, params: Params, *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(self._constructor).bind(*args, **kwargs)
        bound.apply_defaults()
        self._begin(params, OfConstructor(self._constructor, bound.arguments))

    def state_dict(self) -> dict[str, Any]:
        """Return the state and the groups, as torch's optimizers can load them."""
        handle = self.register_state_dict_post_hook(_with_own_counts, prepend=True)  # others see what is returned
        try:
            return super().state_dict()
        finally:
            handle.remove()

    def _leaf(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        if not any(p.is_complex() for group in self.param_groups for p in group["params"]):
            return None
        if not self._takes_complex:
            raise DtypeKindError(f"{type(self).__name__} does not support complex parameters, as in torch.")
        return _as_real


def _as_real(x: torch.Tensor) -> torch.Tensor:
    """Return a complex tensor as torch's optimizers see it: real and imaginary parts as two numbers."""
    return torch.view_as_real(x) if x.is_complex() else x


def _with_own_counts(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return a state dict whose parameters share no step count: torch's optimizers count up in place."""
    state = {
        key: {**slots, STEP: slots[STEP].clone()} if STEP in slots else slots
        for key, slots in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def _documentation(constructor: Callable[..., GradientTransformation]) -> str:
    text = inspect.cleandoc(constructor.__doc__ or "").partition("Examples\n--------")[0].rstrip()
    heading = "Parameters\n----------\n"
    return text.replace(heading, f"{heading}params\n    The parameters, as `Optimizer` takes them.\n", 1)


class SGD(DropIn, constructor=dialect.SGD, naming=_SGD, takes_sparse=True): ...


class Adam(DropIn, constructor=dialect.Adam, naming=_ADAM): ...


class AdamW(DropIn, constructor=dialect.AdamW, naming=_ADAM): ...


class NAdam(DropIn, constructor=dialect.NAdam, naming=_ADAM): ...


class RAdam(DropIn, constructor=dialect.RAdam, naming=_ADAM): ...


class Adamax(DropIn, constructor=dialect.Adamax, naming=_naming({"mu": "exp_avg", "nu": "exp_inf"})): ...


class Adagrad(DropIn, constructor=dialect.Adagrad, naming=_naming({"sum_of_squares": "sum"}), takes_sparse=True): ...


class Adadelta(DropIn, constructor=dialect.Adadelta, naming=_ADADELTA): ...


class RMSprop(DropIn, constructor=dialect.RMSprop, naming=_RMSPROP): ...


class Rprop(DropIn, constructor=dialect.Rprop, naming=_RPROP): ...


class ASGD(DropIn, constructor=dialect.ASGD, naming=_naming({}, ignored=("mu",))): ...


class Adafactor(DropIn, constructor=dialect.Adafactor, naming=_ADAFACTOR, takes_complex=False): ...


class Muon(DropIn, constructor=dialect.Muon, naming=_naming({"mu": "momentum_buffer"}), takes_complex=False):
    def __init__(self, params: Params, *args: Any, **kwargs: Any) -> None:
        super().__init__(params, *args, **kwargs)
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.ndim != 2:
                raise ShapeError(
                    f"A parameter has shape {tuple(p.shape)}, but torch's Muon takes matrices alone. "
                    "Give it to another optimizer, or all of them to Optimizer(params, uniopt.muon(...))."
                )
