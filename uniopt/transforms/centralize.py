"""Taking the mean out of the gradients."""

from __future__ import annotations

from typing import Any

from uniopt.leafwise import leafwise
from uniopt.transformation import GradientTransformation
from uniopt.transforms.scale import EmptyState
from uniopt.typing import Array


def centralize() -> GradientTransformation:
    r"""Take from each gradient its mean over all axes but the first: :math:`u = g - \mathrm{mean}(g)`.

    Leaves with fewer than two axes pass through unchanged.

    References
    ----------
    Yong et al., "Gradient centralization: a new optimization technique for deep neural networks", ECCV 2020,
    arXiv:2004.01461.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.centralize()
    >>> grads = np.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])
    >>> tx.update(grads, tx.init(grads))[0]
    array([[-1.,  0.,  1.],
           [-2., -1.,  3.]])
    """
    return leafwise(EmptyState, None, _centralize)


def _centralize(xp: Any, g: Array, s: EmptyState) -> tuple[Array, EmptyState]:
    return (g - xp.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 else g), s
