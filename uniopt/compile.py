"""A whole training step as one compiled program, on the library of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from uniopt import tree
from uniopt.backends import registry
from uniopt.errors import StateError
from uniopt.step import library_of, numbers_as_arrays
from uniopt.transformation import GradientTransformation, stage_of
from uniopt.typing import Array, Tree
from uniopt.updates import apply_updates

if TYPE_CHECKING:
    from optree import PyTreeSpec

_NUMBERS = (int, float, complex)


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
    JAX compiles the step by ``jax.jit``, MLX by ``mx.compile``. NumPy and torch on the CPU run kernels made for this
    step; see the documentation's page on compiled steps. Dask stays lazy, and array-api-strict runs as it is.

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
        stage_of(tx)
        self._tx = tx
        self._donate = donate
        self._programs: dict[Any, tuple[_Trees, Callable[..., Any]]] = {}

    def __call__(self, grads: Tree, state: Tree, params: Tree, **extra: Any) -> tuple[Tree, Tree]:
        """Return the next parameters and the next state."""
        found = [tree.flatten(part) for part in (grads, extra, state, params)]
        leaves = [part for part, _ in found]
        structures = tuple(structure for _, structure in found)
        static = tuple(id(x) for x in leaves[1] if not hasattr(x, "dtype") and not isinstance(x, _NUMBERS))
        key = (structures, *(tuple(map(type, part)) for part in leaves), static)
        known = self._programs.get(key)
        if known is None:
            known = self._programs[key] = self._build(leaves, structures)
        trees, program = known
        arrays = trees.arrays(leaves)
        return trees.rebuild(program(arrays[0] + arrays[1], arrays[2] + arrays[3]))

    def __repr__(self) -> str:
        return f"compile({self._tx!r}{'' if self._donate else ', donate=False'})"

    def __reduce__(self) -> tuple[Any, ...]:
        return CompiledStep, (self._tx, self._donate)

    def _build(self, leaves: list[list[Any]], structures: tuple[PyTreeSpec, ...]) -> tuple[_Trees, Callable[..., Any]]:
        trees = _Trees(self._tx, leaves, structures)
        return trees, trees.backend.compile_step(trees.step, donate=self._donate)


class _Trees:
    """The trees of one call, taken apart into lists of arrays, and the step as a function of such lists."""

    def __init__(
        self, tx: GradientTransformation, leaves: Sequence[list[Any]], structures: Sequence[PyTreeSpec]
    ) -> None:
        grads, extra, state, params = leaves
        backend = library_of(None, grads=grads) or library_of(None, params=params)
        self.backend = backend or registry.get("numpy")
        self._tx = tx
        self._structures = structures
        self._positions = [[i for i, x in enumerate(part) if self._is_array(x)] for part in leaves]
        # What is no array (None, a function among the extra arguments) belongs to the program.
        self._rest = [[None if self._is_array(x) else x for x in part] for part in leaves]
        self._has_numbers = any(_is_number(x) for part in leaves for x in part)

    def arrays(self, leaves: list[list[Any]]) -> list[list[Any]]:
        """Return the arrays among the leaves, Python numbers as 0-d arrays."""
        if self._has_numbers:
            grads, extra, state, params = leaves
            paired = grads if len(grads) == len(params) else params
            convert = partial(numbers_as_arrays, self.backend)
            leaves = [convert(grads, params) if paired is grads else convert(grads, grads)]
            leaves += [convert(extra, extra), convert(state, state), convert(params, paired)]
        return [[part[i] for i in positions] for part, positions in zip(leaves, self._positions, strict=True)]

    def step(self, kept: list[Array], donated: list[Array]) -> list[Array]:
        """Return the next state's and parameters' arrays; `kept` are the gradients' and extra arguments'."""
        given = iter([*kept, *donated])
        parts = []
        for structure, rest, positions in zip(self._structures, self._rest, self._positions, strict=True):
            full = list(rest)
            for i in positions:
                full[i] = next(given)
            parts.append(tree.unflatten(structure, full))
        grads, extra, state, params = parts
        updates, after = self._tx.update(grads, state, params, **extra)
        results = []
        for part, number in ((after, 2), (apply_updates(params, updates), 3)):
            found, structure = tree.flatten(part)
            if structure != self._structures[number] or [x is None for x in found] != [
                x is None and i not in self._positions[number] for i, x in enumerate(self._rest[number])
            ]:
                raise StateError(
                    f"{self._tx!r} returned a state of another structure than the one it was given: {structure}, "
                    f"expected {self._structures[number]}. A compiled step needs a state that keeps its structure."
                )
            results += [found[i] for i in self._positions[number]]
        return results

    def rebuild(self, results: list[Array]) -> tuple[Tree, Tree]:
        """Return the parameters and the state that a list of results stands for."""
        given = iter(results)
        trees = []
        for number in (2, 3):
            full = list(self._rest[number])
            for i in self._positions[number]:
                full[i] = next(given)
            trees.append(tree.unflatten(self._structures[number], full))
        return trees[1], trees[0]

    @staticmethod
    def _is_array(x: Any) -> bool:
        return _is_number(x) or registry.find(type(x)) is not None


def _is_number(x: Any) -> bool:
    return isinstance(x, _NUMBERS) and not hasattr(x, "dtype")
