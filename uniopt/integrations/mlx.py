"""Transformations as optimizers of MLX."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.optimizers
from mlx.utils import tree_flatten, tree_map, tree_map_with_path

from uniopt import tree
from uniopt.compile import compile as compiled
from uniopt.errors import StateError, TreeStructureError
from uniopt.integrations.given import check_array, transformation_of
from uniopt.integrations.learning_rate import NAME, in_state, learning_rate_of, learning_rates, rate_to_set
from uniopt.typing import Array, Scalar, Tree

if TYPE_CHECKING:
    from optree import PyTreeSpec

_NAMES = {"count": "step", f"hyperparams.{NAME}": NAME}
"""What MLX calls the parts of a state that its own optimizers have as well."""


class Optimizer(mlx.optimizers.Optimizer):
    """An MLX optimizer that runs a transformation.

    Parameters
    ----------
    tx
        The transformation, such as ``uniopt.adamw(1e-3)``.

    Raises
    ------
    HyperparameterError
        If `tx` is no transformation, or another library's optimizer.

    Notes
    -----
    It departs from MLX's own optimizers in these points:

    - `state` is a flat dict of arrays by their paths in the state of `tx`, such as
      ``inner_state.0.mu.layers.0.weight``, with ``step`` and, unless it follows a schedule, ``learning_rate``.
      ``mx.save_safetensors`` takes it as it is, and what ``mx.load`` returns can be set as the state. MLX makes up what
      is missing of a state; here the next step is an error, which names it.
    - The parameters are those that the first step has gradients for, or that `init` was given. A later step may have
      gradients for some of them; the others stay as they are.
    - A transformation sees all parameters at once: global norms, groups by path and masks work as everywhere.
    - ``step`` is int32. Moments of 16-bit parameters are float32.

    Examples
    --------
    >>> import mlx.core as mx
    >>> import uniopt
    >>> from uniopt.integrations.mlx import Optimizer
    >>> optimizer = Optimizer(uniopt.sgd(0.5))
    >>> optimizer.apply_gradients({"w": mx.array([1.0, 2.0])}, {"w": mx.array([1.0, 1.0])})
    {'w': array([0.5, 0], dtype=float32)}
    >>> optimizer.learning_rate = 0.25
    >>> optimizer.apply_gradients({"w": mx.array([1.0, 2.0])}, {"w": mx.array([1.0, 1.0])})
    {'w': array([0.75, 0.5], dtype=float32)}
    """

    def __init__(self, tx: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # MLX annotates some of its functions
        self._given = transformation_of(tx)
        self._tx = in_state(self._given)
        self._advance = compiled(self._tx)
        self._structures: tuple[PyTreeSpec, PyTreeSpec] | None = None  # of parameters and state
        self._state: dict[str, Any] = {"step": mx.array(0, mx.int32)}
        rates = learning_rates(self._given)
        if len(rates) == 1 and not callable(rates[0]):
            self._state[NAME] = mx.array(rates[0], dtype=mx.float32)
        self._at_first = dict(self._state)

    def __repr__(self) -> str:
        return f"Optimizer({self._given!r})"

    @property
    def state(self) -> dict[str, Any]:
        """The state: a flat dict of arrays."""
        return self._state

    @state.setter
    def state(self, state: Tree) -> None:
        self._structures = None
        self._state = dict(tree_flatten(state))

    @property
    def learning_rate(self) -> Array:
        """The learning rate of the next step.

        It can be set to a number or a 0-d array, without another compilation. It is a `HyperparameterError` to set the
        rate where that follows a schedule, and to ask for it where the transformation has none, or several.
        """
        rate = learning_rate_of(self._given)
        return mx.array(rate(self._state["step"])) if callable(rate) else self._state[NAME]

    @learning_rate.setter
    def learning_rate(self, learning_rate: Scalar) -> None:
        rate = rate_to_set(self._given, learning_rate)
        self._state[NAME] = mx.array(rate, dtype=self._state[NAME].dtype)

    def init(self, parameters: Tree) -> None:
        """Make the state for parameters; what there is of it already stays.

        Raises
        ------
        StateError
            If the state that was set is not of these parameters.
        """
        _check(parameters, "parameters")
        params = tree_map(lambda p: p, parameters)  # a module's containers as plain ones
        made, structure = tree.flatten(self._tx.init(params))
        held = {name: x for name, x in self._state.items() if x is not self._at_first.get(name)}
        self._state.update(_fitting(held, dict(zip(_names(structure), made, strict=True))))
        self._structures = tree.flatten(params)[1], structure

    def init_single(self, parameter: Array, state: dict[str, Any]) -> None:
        """Put the state of one parameter, as if it were the only one, into a dict."""
        _check(parameter, "parameter")
        found, structure = tree.flatten(self._tx.init(parameter))
        state.update(zip(_names(structure), found, strict=True))

    def apply_gradients(self, gradients: Tree, parameters: Tree, **extra: Any) -> Tree:
        """Return the parameters after a step, those that have gradients.

        Parameters
        ----------
        gradients
            A tree of arrays.
        parameters
            A tree that has all those, and may have more.
        **extra
            Arguments that the transformation takes, such as ``value``.
        """
        _check(gradients, "gradients")
        chosen = _chosen(parameters, gradients)
        if self._structures is None:
            self.init(chosen)
        assert self._structures is not None
        structure, of_state = self._structures
        given = _spread(gradients, structure), _spread(chosen, structure)
        params = self._step(*given, self._state, of_state, extra)
        moved = dict(zip(tree.dotted_paths(structure), tree.flatten(params)[0], strict=True))
        return tree_map_with_path(lambda path, _: moved[path or ""], gradients)

    def apply_single(self, gradient: Array, parameter: Array, state: dict[str, Any]) -> Array:
        """Return one parameter after a step at the optimizer's learning rate, and put its next state into the dict."""
        _check(gradient, "gradient")
        _check(parameter, "parameter")
        made, structure = tree.flatten(self._tx.init(parameter))
        if NAME in self._state:
            state[NAME] = self._state[NAME]
        state.update(_fitting(state, dict(zip(_names(structure), made, strict=True))))
        return self._step(gradient, parameter, state, structure, {})

    def update(self, model: Any, gradients: Tree, **extra: Any) -> None:
        """Let a module take a step.

        Parameters
        ----------
        model
            The ``mlx.nn.Module``.
        gradients
            A tree of arrays, as ``mlx.nn.value_and_grad`` returns it.
        **extra
            Arguments that the transformation takes, such as ``value``.
        """
        parameters = self.apply_gradients(gradients, model, **extra)
        model.update(parameters)

    def _step(
        self, gradients: Tree, params: Tree, held: dict[str, Any], structure: PyTreeSpec, extra: dict[str, Any]
    ) -> Tree:
        """Return the parameters after a step, and put the next state in place of the one that is held."""
        names = _names(structure)
        state = tree.unflatten(structure, [held[name] for name in names])
        params, state = self._advance(gradients, state, params, **extra)
        held.update(zip(names, tree.flatten(state)[0], strict=True))
        return params


def _names(structure: PyTreeSpec) -> list[str]:
    return [_NAMES.get(path, path) for path in tree.dotted_paths(structure)]


def _check(arrays: Tree, name: str) -> None:
    for path, x in dict(tree_flatten(arrays)).items():
        check_array(x, "mlx", partial(_place, name, path))


def _place(name: str, path: str) -> str:
    return f"{name}[{path!r}]" if path else name


def _chosen(parameters: Tree, gradients: Tree) -> Tree:
    """Return the parameters that have gradients."""
    try:
        return tree_map(lambda _, p: p, gradients, parameters)
    except (KeyError, IndexError, TypeError):
        held = dict(tree_flatten(parameters))
        strangers = [path for path in dict(tree_flatten(gradients)) if path not in held]
        raise TreeStructureError(
            f"There are gradients for {', '.join(strangers)}, but no such parameters in the "
            f"{type(parameters).__name__} that was given. Give the parameters that the gradients are of, or their "
            "mlx.nn.Module."
        ) from None


def _spread(values: Tree, structure: PyTreeSpec) -> Tree:
    """Return a tree of a structure with the values of some of its leaves, and None for the others."""
    given = dict(tree_flatten(values))
    paths = tree.dotted_paths(structure)
    if strangers := sorted(given.keys() - set(paths)):
        raise StateError(
            f"There are gradients for {', '.join(strangers)}, but the state is of {', '.join(paths)}. "
            "Call init with all parameters before the first step."
        )
    return tree.unflatten(structure, [given.get(path) for path in paths])


def _fitting(held: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Return a new state with what is held of it already; StateError if that is not of the same parameters."""
    missing = sorted(made.keys() - held.keys() - {"step", NAME})
    strangers = sorted(held.keys() - made.keys())
    if strangers or (missing and held.keys() - {"step", NAME}):
        raise StateError(
            "The state that was set is not of these parameters."
            + (f" Missing: {', '.join(missing)}." if missing else "")
            + (f" Not expected: {', '.join(strangers)}." if strangers else "")
            + " Set the state of an optimizer that was made by the same call, for the same parameters."
        )
    for name, x in held.items():
        if x.shape != made[name].shape:
            raise StateError(
                f"state[{name!r}] has shape {x.shape}, expected {made[name].shape}. Set the state of an optimizer that "
                "was made by the same call, for the same parameters."
            )
    return {name: held[name].astype(x.dtype) if name in held else x for name, x in made.items()}
