r"""Muon: momentum made orthogonal, for matrices; AdamW for the rest."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from uniopt import hyperparameters
from uniopt.chain import chain
from uniopt.clock import Time
from uniopt.hyperparameters import PerLeaf
from uniopt.leafwise import leafwise
from uniopt.moments import average, corrected
from uniopt.numerics import is_complex, zeros_like
from uniopt.optimizers.adam import adamw
from uniopt.optimizers.newton_schulz import (
    MuonDimensionNumbers,
    coefficient_table,
    dimension_numbers,
    matrix_labels,
    orthogonalized,
)
from uniopt.transformation import Bound, GradientTransformation
from uniopt.transforms.decay import add_decayed_weights
from uniopt.transforms.partition import partition
from uniopt.transforms.scale import EmptyState, scale_by_learning_rate
from uniopt.typing import Array, Mask, Scalar, ScalarOrSchedule, Tree

_PRECONDITIONINGS = ("frobenius", "spectral", "aol", "schatten")
_STANDARD = (3.4445, -4.7750, 2.0315)


class MuonState(NamedTuple):
    """The momentum."""

    count: Array  # int32, shape ()
    mu: Tree  # like the parameters, in mu_dtype


def scale_by_muon(
    ns_coeffs: Any = _STANDARD,
    ns_steps: int = 5,
    beta: Scalar = 0.95,
    eps: Scalar = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: Any = None,
    bias_correction: bool = True,
    average_gradients: bool = True,
    clamp_norm: bool = False,
    ns_dtype: Any = None,
) -> GradientTransformation:
    r"""Replace the gradients by their nearly orthogonal momentum; see `muon` for the formula.

    Parameters
    ----------
    ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov, adaptive, preconditioning
        As in `muon`.
    weight_dimension_numbers
        `MuonDimensionNumbers`, a tree or prefix of them, or a function from the parameters to one; by default every
        leaf is a matrix.
    bias_correction
        Whether the momentum is corrected; torch, mlx and keras take it as it is, with Nesterov
        :math:`\beta m_t + (1 - \beta) g_t`.
    average_gradients
        Whether the momentum is a running mean; in keras it is the decaying sum :math:`m_t = \beta m_{t-1} + g_t`.
    clamp_norm
        Whether `eps` is the least value of a matrix's norm, as in torch, instead of being added to it.
    ns_dtype
        Real dtype to which the matrices and their norms are rounded after each operation of the Newton-Schulz steps,
        bfloat16 in torch; by default they are not. Products are summed up in the compute dtype.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, the axes do not fit a leaf, or a complex leaf is to be rounded.
    UnsupportedDtypeError
        If the library has no `ns_dtype`.
    """
    steps = hyperparameters.fixed_integer("ns_steps", ns_steps, at_least=1)
    return leafwise(
        MuonState,
        _init,
        _scale_by_muon,
        ns_coeffs=coefficient_table(ns_coeffs, steps),
        ns_steps=steps,
        beta=hyperparameters.decay_rate("beta", beta),
        eps=hyperparameters.nonnegative("eps", eps),
        mu_dtype=hyperparameters.dtype("mu_dtype", mu_dtype),
        nesterov=hyperparameters.switch("nesterov", nesterov),
        adaptive=hyperparameters.switch("adaptive", adaptive),
        preconditioning=hyperparameters.one_of("preconditioning", preconditioning, _PRECONDITIONINGS),
        weight_dimension_numbers=PerLeaf(weight_dimension_numbers or MuonDimensionNumbers()),
        bias_correction=hyperparameters.switch("bias_correction", bias_correction),
        average_gradients=hyperparameters.switch("average_gradients", average_gradients),
        clamp_norm=hyperparameters.switch("clamp_norm", clamp_norm),
        ns_dtype=hyperparameters.real_dtype("ns_dtype", ns_dtype),
    )


def scale_by_shape(
    weight_dimension_numbers: Any = None, consistent_rms: Scalar | None = None
) -> GradientTransformation:
    r"""Scale each matrix by its shape: by :math:`\sqrt{\max(1, m/n)}`, or by :math:`c \sqrt{\max(m, n)}`.

    Parameters
    ----------
    weight_dimension_numbers
        As in `scale_by_muon`; there are :math:`n` rows and :math:`m` columns.
    consistent_rms
        :math:`c`; None for the first form.
    """
    return leafwise(
        EmptyState,
        None,
        _scale_by_shape,
        weight_dimension_numbers=PerLeaf(weight_dimension_numbers or MuonDimensionNumbers()),
        consistent_rms=None if consistent_rms is None else hyperparameters.number("consistent_rms", consistent_rms),
    )


def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Any = _STANDARD,
    ns_steps: int = 5,
    beta: Scalar = 0.95,
    eps: Scalar = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: Scalar = 0.9,
    adam_b2: Scalar = 0.999,
    adam_eps_root: Scalar = 0.0,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: Any = None,
    consistent_rms: Scalar | None = None,
) -> GradientTransformation:
    r"""Orthogonal momentum for matrices, AdamW for everything else.

    .. math::

        m_t &= \beta m_{t-1} + (1 - \beta) g_t, \qquad
        \hat m_t = \beta \frac{m_t}{1 - \beta^{t+1}} + (1 - \beta) \frac{g_t}{1 - \beta^t} \\
        u_t &= -\eta_t \left( \sqrt{\max(1, m / n)}\; \mathrm{orthogonal}(\hat m_t) + \lambda p_{t-1} \right)

    for a matrix of :math:`n` rows and :math:`m` columns, where :math:`\mathrm{orthogonal}(U \Sigma V^\top) \approx U
    V^\top` by Newton-Schulz steps; without Nesterov, :math:`\hat m_t = m_t / (1 - \beta^t)`.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: a number, a 0-d array, or a schedule of the step count.
    ns_coeffs
        Coefficients of the Newton-Schulz steps: three numbers, three for each step, or ``"standard"`` or ``"dion"``.
    ns_steps
        Number of steps.
    beta
        :math:`\beta` in [0, 1): decay rate of the momentum.
    eps
        Added to a matrix's norm, and outside the root in AdamW.
    weight_decay
        :math:`\lambda` of the matrices: a number, a 0-d array, or a schedule. It is multiplied by the learning rate.
    weight_decay_mask
        Which matrices decay: a tree of bools, a prefix of one, or a function from the parameters to one.
    mu_dtype
        Dtype of the momentum; by default that of the parameters, float32 for 16-bit ones.
    nesterov
        Whether to look one step ahead, in both parts.
    adaptive
        Whether the update is multiplied by its inner product with the momentum.
    preconditioning
        By what a matrix is divided first: ``"frobenius"``, its norm; ``"spectral"``, its largest singular value, which
        costs 30 products more; ``"aol"`` or ``"schatten"``.
    adam_b1, adam_b2, adam_eps_root, adam_weight_decay
        Hyperparameters of AdamW for the other leaves.
    adam_learning_rate
        Their learning rate; by default `learning_rate`.
    muon_weight_dimension_numbers
        `MuonDimensionNumbers`, a tree or prefix of them with None for the leaves of AdamW, or a function from the
        parameters to one. By default the leaves of rank 2 are matrices; with it, leaves of higher rank can be
        several.
    consistent_rms
        :math:`c`, for a factor of :math:`c\sqrt{\max(m, n)}` instead of the one above; None for the one above.

    Returns
    -------
    GradientTransformation
        Its state is a `PartitionState` with the parts ``"muon"``, which holds `MuonState`: ``count`` (int32) and ``mu``
        in `mu_dtype`; and ``"adam"``, which holds `ScaleByAdamState` in the dtypes of `adam`. Its ``update`` needs the
        parameters.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or the axes do not fit a leaf.

    Notes
    -----
    optax.contrib.muon is the same. torch, mlx and keras correct no bias; torch and mlx take the factor
    :math:`\sqrt{\max(1, n / m)}`, keras :math:`0.2 \sqrt{\max(m, n)}`; torch computes in bfloat16, mlx decays inside
    the momentum, keras sums up instead of averaging. They are chains of `scale_by_shape` and `scale_by_muon`.

    References
    ----------
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; Bernstein and Newhouse, "Old
    optimizer, new norm", 2024, arXiv:2409.20325 (`adaptive`); Liu et al., "Muon is scalable for LLM training", 2025,
    arXiv:2502.16982 (`consistent_rms`); Boissin et al., "Turbo-Muon", 2025, arXiv:2512.04632 (``"aol"``); Grishina et
    al., "Accelerating Newton-Schulz iteration for orthogonalization via Chebyshev-type polynomials", 2025,
    arXiv:2506.10935 (``"schatten"``).

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.muon(0.1)
    >>> params = {"w": np.eye(2), "b": np.ones(2)}
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> updates["b"].round(2)
    array([-0.15, -0.15])
    """
    numbers = muon_weight_dimension_numbers
    of_matrices = Bound(dimension_numbers, numbers=numbers)
    matrices = chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=of_matrices,
        ),
        scale_by_shape(of_matrices, consistent_rms),
        add_decayed_weights(weight_decay, hyperparameters.mask("weight_decay_mask", weight_decay_mask)),
        scale_by_learning_rate(learning_rate),
    )
    others = adamw(
        learning_rate
        if adam_learning_rate is None
        else hyperparameters.learning_rate(adam_learning_rate, "adam_learning_rate"),
        hyperparameters.decay_rate("adam_b1", adam_b1),
        hyperparameters.decay_rate("adam_b2", adam_b2),
        eps,
        hyperparameters.nonnegative("adam_eps_root", adam_eps_root),
        mu_dtype,
        hyperparameters.learning_rate(adam_weight_decay, "adam_weight_decay"),
        nesterov=nesterov,
    )
    return partition({"muon": matrices, "adam": others}, Bound(matrix_labels, numbers=numbers))


def _init(xp: Any, p: Array, *, mu_dtype: Any) -> dict[str, Array]:
    return {"mu": zeros_like(xp, p, mu_dtype)}


def _scale_by_muon(
    xp: Any,
    g: Array,
    s: MuonState,
    *,
    t: Time,
    ns_coeffs: Any,
    beta: Scalar,
    eps: Scalar,
    nesterov: bool,
    adaptive: bool,
    preconditioning: str,
    weight_dimension_numbers: MuonDimensionNumbers,
    bias_correction: bool,
    average_gradients: bool,
    clamp_norm: bool,
    ns_dtype: Any,
) -> tuple[Array, MuonState]:
    g = g if average_gradients else g / (1 - beta)
    mu = average(beta, s.mu, g)
    ahead = average(beta, mu, g) if nesterov else mu
    m = corrected(t, mu, g, beta, nesterov) if bias_correction else ahead
    update = orthogonalized(xp, m, weight_dimension_numbers, ns_coeffs, preconditioning, eps, clamp_norm, ns_dtype)
    if adaptive:
        update = xp.sum((xp.conj(m) if is_complex(m) else m) * update) * update
    return update, s._replace(mu=mu)


def _scale_by_shape(
    xp: Any, g: Array, s: EmptyState, *, weight_dimension_numbers: MuonDimensionNumbers, consistent_rms: Scalar | None
) -> tuple[Array, EmptyState]:
    rows, columns = weight_dimension_numbers.fans(g.shape)
    if consistent_rms is None:
        return math.sqrt(max(1.0, columns / rows)) * g, s
    return math.sqrt(max(rows, columns)) * consistent_rms * g, s
