"""A whole training step as one compiled program, on the library of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uniopt import tree
from uniopt.transformation import GradientTransformation, stage_of
from uniopt.tree_program import TreeProgram
from uniopt.typing import Array, Tree

if TYPE_CHECKING:
    from optree import PyTreeSpec

_MOST_PROGRAMS = 32
OnLeaves = Callable[[list[Array]], tuple[Tree, Tree] | None]


def compile(tx: GradientTransformation, *, donate: bool = True) -> CompiledStep:
    """Return a step that **overwrites the parameters and the state it is given**, as fast as hand-written code.

    ``step(grads, state, params, **extra)`` returns ``(params, state)``: the parameters after ``tx.update`` and
    `apply_updates`, and the next state. On NumPy, CuPy and torch the arrays passed in are updated in place and
    returned; on JAX the old ones are deleted. Pass ``donate=False`` to keep them.

    Parameters
    ----------
    tx
        The transformation.
    donate
        Whether the step may reuse the memory of parameters and state.

    Returns
    -------
    CompiledStep
        The function. It compiles at the first call, and again for trees of another structure, shape or dtype; never
        for other values of learning rates, counts or extra arguments.

    Raises
    ------
    UnioptError
        When called with trees that do not fit, as ``tx.update`` does; nothing has been written then.

    Notes
    -----
    JAX compiles the step by ``jax.jit``, MLX by ``mx.compile``. NumPy, CuPy and torch run kernels made for this step;
    see the documentation's page on compiled steps. Dask stays lazy, and array-api-strict runs as it is.

    Examples
    --------
    >>> import numpy as np
    >>> import uniopt
    >>> tx = uniopt.sgd(0.5)
    >>> step = uniopt.compile(tx)
    >>> params = {"w": np.asarray([1.0, 2.0])}
    >>> params, state = step({"w": np.asarray([1.0, 1.0])}, tx.init(params), params)
    >>> params
    {'w': array([0.5, 1.5])}
    """
    return CompiledStep(tx, donate)


class CompiledStep:
    """A compiled step: ``step(grads, state, params, **extra)`` returns ``(params, state)``; see `compile`."""

    def __init__(self, tx: GradientTransformation, donate: bool) -> None:
        stage_of(tx)  # HyperparameterError if it is none
        self._tx = tx
        self._donate = donate
        self._programs: dict[Any, list[TreeProgram]] = {}
        self._last: TreeProgram | None = None

    def __call__(self, grads: Tree, state: Tree, params: Tree, **extra: Any) -> tuple[Tree, Tree]:
        """Return the next parameters and the next state."""
        program, given = self._last, None
        leaves = None if program is None else program.read((grads, extra, state, params))
        if program is None or leaves is None:
            given, structure = tree.flatten((grads, extra, state, params))
            program, leaves = self._find(given, structure)
            self._last = program
        kept, donated = program.arrays(leaves)
        results = program.results(kept, donated)
        as_given = given is None or leaves is given
        if results is donated and as_given and not program.has_numbers:  # updated in place
            return params, state
        return program.rebuild(results)

    def on_leaves(self, grads: Tree, state: Tree, params: Tree, **extra: Any) -> OnLeaves:
        """Return the step as a function of the gradients' leaves, for trees whose arrays it has updated in place."""
        program, leaves = self._find(*tree.flatten((grads, extra, state, params)))
        kept, donated = program.arrays(leaves)
        others = kept[len(tree.leaves(grads)) :]

        def step(grads: list[Array]) -> tuple[Tree, Tree] | None:
            """Return the next parameters and the next state; None if they are the same ones, updated in place."""
            results = program.results([*grads, *others], donated)
            return None if results is donated else program.rebuild(results)

        return step

    def __repr__(self) -> str:
        return f"compile({self._tx!r}{'' if self._donate else ', donate=False'})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CompiledStep, (self._tx, self._donate)

    def _find(self, leaves: list[Any], structure: PyTreeSpec) -> tuple[TreeProgram, list[Any]]:
        """Return the program for some leaves, and the leaves as it takes them."""
        known = self._programs.setdefault(structure, [])
        for program in known:
            taken = program.with_scalars(leaves)
            if program.fits(taken):
                return program, taken
        known.append(TreeProgram(self._tx, leaves, structure, donate=self._donate))
        del known[:-_MOST_PROGRAMS]  # a function made anew for each call is another program each time
        return known[-1], known[-1].with_scalars(leaves)
