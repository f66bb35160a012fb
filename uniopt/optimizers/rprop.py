r"""Rprop: a step size for each parameter, grown and shrunk by the gradient's sign."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.leafwise import leafwise
from uniopt.numerics import full_like, require_order
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale
from uniopt.typing import Array, Scalar, Tree


class ScaleByRpropState(NamedTuple):
    """The step sizes, and the last steps before they were negated."""

    step_sizes: Tree  # like the parameters
    prev_updates: Tree  # like the parameters


def scale_by_rprop(
    learning_rate: Scalar,
    eta_minus: Scalar = 0.5,
    eta_plus: Scalar = 1.2,
    min_step_size: Scalar = 1e-6,
    max_step_size: Scalar = 50.0,
    *,
    one_step_late: bool = False,
    bound_every_size: bool = False,
) -> GradientTransformation:
    """Replace the gradients by Rprop's steps, not negated; see `rprop` for formula and parameters.

    With `one_step_late`, each step is returned in the update after the one that it belongs to, as optax does. With
    `bound_every_size`, the least and the largest size hold from the first step on, as in torch, and not only where a
    size grows or shrinks.
    """
    return leafwise(
        ScaleByRpropState,
        _init,
        _scale_by_rprop,
        learning_rate=hyperparameters.nonnegative("learning_rate", learning_rate),
        eta_minus=hyperparameters.decay_rate("eta_minus", eta_minus),
        eta_plus=hyperparameters.number("eta_plus", eta_plus, at_least=1.0),
        min_step_size=hyperparameters.nonnegative("min_step_size", min_step_size),
        max_step_size=hyperparameters.nonnegative("max_step_size", max_step_size),
        one_step_late=hyperparameters.switch("one_step_late", one_step_late),
        bound_every_size=hyperparameters.switch("bound_every_size", bound_every_size),
    )


def rprop(
    learning_rate: Scalar,
    eta_minus: Scalar = 0.5,
    eta_plus: Scalar = 1.2,
    min_step_size: Scalar = 1e-6,
    max_step_size: Scalar = 50.0,
) -> GradientTransformation:
    r"""Steps whose sizes depend on the signs of successive gradients alone; for full batches.

    For each element, with :math:`s_t = \mathrm{sign}(g_t)\, \mathrm{sign}(g_{t-1})` (0 in the first step),

    .. math::

        \Delta_t = \begin{cases}
            \min(\eta_+ \Delta_{t-1}, \Delta_{\max}) & s_t > 0 \\
            \max(\eta_- \Delta_{t-1}, \Delta_{\min}) & s_t < 0 \\
            \Delta_{t-1} & s_t = 0
        \end{cases}
        \qquad
        u_t = \begin{cases} 0 & s_t < 0 \\ -\Delta_t\, \mathrm{sign}(g_t) & \text{otherwise} \end{cases}

    After a change of sign, the next :math:`s` is 0.

    Parameters
    ----------
    learning_rate
        :math:`\Delta_0`, the first step size.
    eta_minus
        :math:`\eta_-` in [0, 1), by which a step size shrinks.
    eta_plus
        :math:`\eta_+`, at least 1, by which it grows.
    min_step_size, max_step_size
        :math:`\Delta_{\min}, \Delta_{\max}`.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByRpropState`: ``step_sizes`` and ``prev_updates`` in the parameters' dtype, float32 for
        16-bit ones.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.
    DtypeKindError
        At init, for a complex leaf: complex numbers have no order.

    Notes
    -----
    torch.optim.Rprop is the same. optax applies every step one step late (its first update is 0), as
    `uniopt.dialects.optax.rprop` does. mlx and keras do not have it.

    References
    ----------
    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN
    1993; Igel and Huesken, "Improving the Rprop learning algorithm", 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.rprop(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> first, state = tx.update(grads, tx.init(grads))
    >>> second, state = tx.update(grads, state)
    >>> first, second
    (array([-0.1,  0.1]), array([-0.12,  0.12]))
    """
    return chain(scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size), scale(-1.0))


def _init(xp: Any, p: Array, *, learning_rate: Scalar) -> dict[str, Array]:
    require_order(p, "rprop")
    return {"step_sizes": full_like(xp, p, learning_rate), "prev_updates": xp.zeros_like(p)}


def _scale_by_rprop(
    xp: Any,
    g: Array,
    s: ScaleByRpropState,
    *,
    eta_minus: Scalar,
    eta_plus: Scalar,
    min_step_size: Scalar,
    max_step_size: Scalar,
    one_step_late: bool,
    bound_every_size: bool,
) -> tuple[Array, ScaleByRpropState]:
    agreement = xp.sign(g) * xp.sign(s.prev_updates)
    grown = xp.where(agreement > 0, eta_plus * s.step_sizes, eta_minus * s.step_sizes)
    kept = _bounded(xp, s.step_sizes, min_step_size, max_step_size) if bound_every_size else s.step_sizes
    sizes = xp.where(agreement == 0, kept, _bounded(xp, grown, min_step_size, max_step_size))
    turned = agreement < 0
    now = xp.where(turned, xp.zeros_like(g), sizes * xp.sign(g))
    update = xp.where(turned, xp.zeros_like(g), s.prev_updates) if one_step_late else now
    return update, s._replace(step_sizes=sizes, prev_updates=now)


def _bounded(xp: Any, sizes: Array, least: Scalar, largest: Scalar) -> Array:
    return xp.minimum(xp.maximum(sizes, least), largest)
