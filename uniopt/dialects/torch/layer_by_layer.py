"""torch's Muon."""

from __future__ import annotations

from typing import Any, Literal

from uniopt import hyperparameters, tree
from uniopt.chain import chain
from uniopt.dialects.torch.around import after
from uniopt.errors import ShapeError
from uniopt.optimizers.muon import scale_by_muon, scale_by_shape
from uniopt.optimizers.newton_schulz import MuonDimensionNumbers
from uniopt.transformation import GradientTransformation
from uniopt.typing import Scalar, ScalarOrSchedule, Tree


def Muon(
    lr: ScalarOrSchedule = 1e-3,
    weight_decay: Scalar = 0.1,
    momentum: Scalar = 0.95,
    nesterov: bool = True,
    ns_coefficients: Any = (3.4445, -4.775, 2.0315),
    eps: Scalar = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
) -> GradientTransformation:
    """Muon as torch computes it: for matrices alone, in bfloat16, with outputs along the first axis.

    Parameters
    ----------
    lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn
        As in ``torch.optim.Muon``. The weight decay is decoupled, and multiplied by the learning rate as it is given.

    Raises
    ------
    HyperparameterError
        If a number is outside its range, or `adjust_lr_fn` is another name than ``"original"`` or
        ``"match_rms_adamw"``.
    ShapeError
        At update, for a leaf that is no matrix. `uniopt.partition` gives the others to another optimizer.
    UnsupportedDtypeError
        At update, if the library has no bfloat16.

    Notes
    -----
    bfloat16 has 8 bits, so another order of additions shows in the third digit of a step.

    Examples
    --------
    >>> import numpy as np
    >>> from uniopt.dialects import torch
    >>> tx = torch.Muon(lr=0.1, weight_decay=0.0, momentum=0.0, adjust_lr_fn="match_rms_adamw")
    >>> params = np.eye(2)
    >>> tx.update(params, tx.init(params), params)[0].round(2)
    array([[-0.03, -0.  ],
           [-0.  , -0.03]])
    """
    name = hyperparameters.one_of("adjust_lr_fn", adjust_lr_fn or "original", ("original", "match_rms_adamw"))
    rule = scale_by_muon(
        ns_coefficients,
        ns_steps,
        hyperparameters.decay_rate("momentum", momentum),
        eps,
        nesterov=nesterov,
        weight_dimension_numbers=_matrices,
        bias_correction=False,
        clamp_norm=True,
        ns_dtype="bfloat16",
    )
    outputs_first = MuonDimensionNumbers(reduction_axis=1, output_axis=0)
    shape = scale_by_shape(outputs_first, 0.2 if name == "match_rms_adamw" else None)
    return chain(rule, shape, *after(lr, weight_decay))


def _matrices(params: Tree) -> Tree:
    """Return the dimension numbers of matrices; ShapeError if there is anything else."""
    leaves, structure = tree.flatten(params)
    for path, p in zip(tree.paths(structure, "params"), leaves, strict=True):
        if p is not None and p.ndim != 2:
            raise ShapeError(
                f"{path} has shape {tuple(p.shape)}, but torch's Muon takes matrices alone. "
                "Give this one to another optimizer, with uniopt.partition."
            )
    return MuonDimensionNumbers()
