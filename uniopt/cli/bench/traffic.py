"""How many bytes a step has to move between memory and processor, in the fewest passes over the leaves."""

from __future__ import annotations

from typing import Any

import uniopt
from uniopt.cli.bench.optimizers import transformation
from uniopt.cli.bench.sizes import Size

# Reads and writes of whole leaves beyond one pass, where a sum over one or all of them is needed before it can be used:
_MORE = {
    "adafactor": 3,  # the row and column means of g; the root mean square of the step, and of p; then the step
    "clipped_adamw": 1,  # the norm of g
    "finite_adamw": 1,  # whether g is finite
    "fromage": 2,  # the norms of p and g
    "lamb": 3,  # a first pass reads p, g, m, v and writes m, v, with both norms; a second reads p, m, v and writes p
    "lars": 2,  # the norms of p and g
    "novograd": 1,  # the norm of g
    "polyak_sgd": 1,  # the norm of g
}

EXCEPTED = {
    "muon": "it multiplies matrices, and is bound by arithmetic",
    "noisy_sgd": "it draws noise, and is bound by arithmetic",
}
"""Optimizers whose time does not follow from the bytes they move."""


def fewest_bytes(optimizer: str, size: Size) -> int:
    """Return the bytes that one step reads and writes, if no pass over the leaves can be spared.

    One pass reads the parameters, the gradients and the state, and writes the parameters and the state.
    """
    return 3 * size.nbytes + 2 * state_bytes(optimizer, size) + _MORE.get(optimizer, 0) * size.nbytes


def state_bytes(optimizer: str, size: Size) -> int:
    """Return the bytes of an optimizer's state."""
    # Any library's would do, and NumPy does not touch the memory of zeros until they are written to.
    state: Any = transformation(optimizer).init(size.empty())
    return sum(x.nbytes for x in uniopt.tree.leaves(state))
