r"""AMSGrad: Adam whose second moment never falls."""

from __future__ import annotations

from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.leafwise import leafwise
from uniopt.moments import average, checked, corrected, root, root_of_correction
from uniopt.numerics import abs_squared, nonzero, real_full_like, zeros_like
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import scale_by_learning_rate
from uniopt.typing import Array, Scalar, ScalarOrSchedule, Tree


class ScaleByAmsgradState(NamedTuple):
    """The moments of the gradients, and the largest second moment so far."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters, in mu_dtype
    nu: Tree  # like the parameters, real
    nu_max: Tree  # like nu


def scale_by_amsgrad(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    bias_correction_nu_max: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """Rescale the gradients by AMSGrad's rule, without a learning rate; see `amsgrad` for formula and parameters.

    With `bias_correction_nu_max`, the maximum is corrected, as in torch; that is meant for raw second moments. With
    `eps_before_correction`, it is corrected after epsilon was added to its root, as in keras.
    """
    return leafwise(
        ScaleByAmsgradState,
        _init,
        _scale_by_amsgrad,
        **checked(b1, b2, eps, eps_root),
        mu_dtype=hyperparameters.dtype("mu_dtype", mu_dtype),
        bias_correction_mu=hyperparameters.switch("bias_correction_mu", bias_correction_mu),
        bias_correction_nu=hyperparameters.switch("bias_correction_nu", bias_correction_nu),
        bias_correction_nu_max=hyperparameters.switch("bias_correction_nu_max", bias_correction_nu_max),
        eps_before_correction=hyperparameters.switch("eps_before_correction", eps_before_correction),
    )


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    r"""Adam whose second moment never falls.

    .. math::

        v^{\max}_t = \max(v^{\max}_{t-1}, \hat v_t), \qquad
        u_t = -\eta_t\, \hat m_t / \left(\sqrt{v^{\max}_t + \bar\varepsilon} + \varepsilon\right)

    with the moments of `adam`.

    Parameters
    ----------
    learning_rate, b1, b2, eps, eps_root, mu_dtype
        As in `adam`.
    bias_correction_mu, bias_correction_nu
        Whether the moments are corrected, the second one before the maximum is taken. The paper corrects neither.

    Returns
    -------
    GradientTransformation
        Its state holds `ScaleByAmsgradState`: ``count`` (int32), ``mu`` in `mu_dtype`, ``nu`` and ``nu_max`` in the
        parameters' dtype, float32 for 16-bit ones; these two are real.

    Raises
    ------
    HyperparameterError
        If a number is outside its range.

    Notes
    -----
    optax is the same. torch and keras take the maximum over the raw second moment and correct it afterwards, which is
    another sequence. mlx does not have it.

    References
    ----------
    Reddi, Kale and Kumar, "On the convergence of Adam and beyond", ICLR 2018, arXiv:1904.09237.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.amsgrad(0.1)
    >>> grads = np.asarray([3.0, -0.5])
    >>> tx.update(grads, tx.init(grads))[0]
    array([-0.1,  0.1])
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )


def _init(xp: Any, p: Array, *, mu_dtype: Any) -> dict[str, Array]:
    return {"mu": zeros_like(xp, p, mu_dtype), "nu": real_full_like(xp, p), "nu_max": real_full_like(xp, p)}


def _scale_by_amsgrad(
    xp: Any,
    g: Array,
    s: ScaleByAmsgradState,
    *,
    t: Time,
    b1: Scalar,
    b2: Scalar,
    eps: Scalar,
    eps_root: Scalar,
    bias_correction_mu: bool,
    bias_correction_nu: bool,
    bias_correction_nu_max: bool,
    eps_before_correction: bool,
) -> tuple[Array, ScaleByAmsgradState]:
    mu = average(b1, s.mu, g)
    nu = average(b2, s.nu, abs_squared(xp, g))
    nu_max = xp.maximum(s.nu_max, nu / t.bias_correction(b2) if bias_correction_nu else nu)
    m = corrected(t, mu, g, b1) if bias_correction_mu else mu
    if eps_before_correction:
        divisor = (root(xp, nu_max, eps_root) + eps) / t.once(root_of_correction, b2)
    else:
        divisor = root(xp, nu_max / t.bias_correction(b2) if bias_correction_nu_max else nu_max, eps_root) + eps
    return m / nonzero(xp, divisor, eps, eps_root), s._replace(mu=mu, nu=nu, nu_max=nu_max)
