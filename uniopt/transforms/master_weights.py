"""Training 16-bit parameters by way of float32 copies of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from uniopt.step import Step
from uniopt.transformation import GradientTransformation, Stage, check_state, needed_params, stage_of, transformation
from uniopt.transforms.copies import copies
from uniopt.transforms.narrow import narrow_part
from uniopt.typing import Tree


class MasterWeightsState(NamedTuple):
    """The copies, and the state of the inner transformation, which knows nothing but them."""

    master: Tree  # like the parameters, float32 for the 16-bit ones; MaskedNode for the others
    inner_state: Any


def master_weights(inner: GradientTransformation) -> GradientTransformation:
    r"""Keep float32 copies of 16-bit parameters, and step along on those.

    .. math::

        m_t = m_{t-1} + u_t(g_t, m_{t-1}), \qquad p_t = \mathrm{round}(m_t)

    with :math:`m_0 = p_0`. Each parameter is its copy, rounded once, however small the steps are.

    Parameters
    ----------
    inner
        The whole optimizer: what it returns is added to the copies. It is given the copies for the parameters.

    Returns
    -------
    GradientTransformation
        Its state holds `MasterWeightsState`. Parameters of other dtypes have no copy and pass through `inner` as they
        would without this. The updates of 16-bit parameters are float32, so that `apply_updates` rounds to the very
        number.

    Notes
    -----
    Costs 4 bytes a parameter, of memory and of traffic in each direction. Parameters that are set from outside between
    steps go back to their copies: set those, with `tree_set(state, master=...)`.

    The difference of parameter and copy is exact in float32 unless a parameter shrinks to less than :math:`2^{-14}` of
    itself (float16: :math:`2^{-11}`) in one step. Then it is off by at most :math:`2^{-24}` of what it was, until the
    next step.

    References
    ----------
    Micikevicius et al., "Mixed precision training", ICLR 2018, arXiv:1710.03740.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> params = np.ones(1, dtype=np.float16)
    >>> tx = uniopt.master_weights(uniopt.sgd(1e-4))
    >>> state = tx.init(params)
    >>> for _ in range(1000):
    ...     updates, state = tx.update(np.ones(1, dtype=np.float16), state, params)
    ...     params = uniopt.apply_updates(params, updates)
    >>> params
    array([0.9], dtype=float16)
    """
    return transformation(MasterWeights(stage_of(inner)))


@dataclass(frozen=True, eq=False, repr=False)
class MasterWeights(Stage):
    """The stage behind `master_weights`."""

    inner: Stage

    def __repr__(self) -> str:
        return f"master_weights({self.inner!r})"

    def per_example(self) -> bool:
        return self.inner.per_example()

    def init(self, step: Step, params: list[Any]) -> Any:
        part, positions = narrow_part(step)
        master = copies(step, [params[i] for i in positions])
        return MasterWeightsState(part.rebuild(master), self.inner.init(step.wide(params), params))

    def update(
        self, step: Step, updates: list[Any], state: Any, params: list[Any] | None, extra: dict[str, Any]
    ) -> tuple[list[Any], Any]:
        check_state("master_weights", state, MasterWeightsState)
        params = needed_params("master_weights", params)
        part, positions = narrow_part(step)
        masters = part.slot(state.master, "state.master")
        held = list(params)
        for i, master in zip(positions, masters, strict=True):
            held[i] = None if updates[i] is None else master
        results, inner_state = self.inner.update(step.wide(updates), updates, state.inner_state, held, extra)
        results = list(results)
        for k, i in enumerate(positions):
            if results[i] is not None:
                masters[k] = step.backend.astype(held[i] + results[i], held[i].dtype)
                results[i] = step.reach(i, masters[k], params[i])
        return results, MasterWeightsState(part.rebuild(masters), inner_state)
