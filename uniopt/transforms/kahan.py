"""Carrying what rounding has taken from 16-bit parameters over to the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, needed_params, transformation
from uniopt.transforms.narrow import narrow_part
from uniopt.typing import Tree


class KahanSummationState(NamedTuple):
    """What the parameters lack."""

    compensation: Tree  # like the parameters, in their dtypes; MaskedNode for those that are not of 16 bits


def kahan_summation() -> GradientTransformation:
    r"""Keep what rounding takes from 16-bit parameters, and add it to the next update.

    .. math::

        d_t = u_t + c_{t-1}, \qquad p_t = \mathrm{round}(p_{t-1} + d_t), \qquad
        c_t = \mathrm{round}(d_t - (p_t - p_{t-1}))

    with :math:`c_0 = 0`, both rounded to the parameter's dtype, and the sums in float32. Put it last in a `chain`.

    Returns
    -------
    GradientTransformation
        Its state holds `KahanSummationState`. Updates of other dtypes pass through; those of 16-bit parameters come
        out as float32, so that `apply_updates` rounds to the very number.

    Notes
    -----
    Costs 2 bytes a parameter. Parameter and compensation together hold 16 bits in bfloat16 and 22 in float16, of
    float32's 24: what is lost for good is half a unit of the compensation, at most :math:`2^{-18}` of the parameter
    (float16: :math:`2^{-24}`) in a step.

    References
    ----------
    Kahan, "Further remarks on reducing truncation errors", Communications of the ACM 8(1), 1965; Zamirai et al.,
    "Revisiting bfloat16 training", 2020, arXiv:2010.06192.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> params = np.ones(1, dtype=np.float16)
    >>> tx = uniopt.chain(uniopt.sgd(1e-4), uniopt.kahan_summation())
    >>> state = tx.init(params)
    >>> for _ in range(1000):
    ...     updates, state = tx.update(np.ones(1, dtype=np.float16), state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params
    array([0.9], dtype=float16)
    """
    return transformation(KahanSummation())


@dataclass(frozen=True, eq=False, repr=False)
class KahanSummation(Stage):
    """The stage behind `kahan_summation`."""

    def __repr__(self) -> str:
        return "kahan_summation()"

    def init(self, step: Step, params: list[Any]) -> Any:
        part, positions = narrow_part(step)
        zeros = [None if params[i] is None else step.xp.zeros_like(params[i]) for i in positions]
        return KahanSummationState(part.rebuild(part.narrow(zeros)))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("kahan_summation", state, KahanSummationState)
        params = needed_params("kahan_summation", params)
        part, positions = narrow_part(step)
        compensation = part.slot(state.compensation, "state.compensation")
        results = list(updates)
        for k, (i, owed) in enumerate(zip(positions, part.widen(compensation), strict=True)):
            if updates[i] is not None:
                due = updates[i] + owed
                results[i] = step.reach(i, params[i] + due, params[i])
                compensation[k] = step.backend.astype(due - results[i], compensation[k].dtype)
        return results, KahanSummationState(part.rebuild(compensation))
