"""Transformations as optimizers of Keras, on its JAX and torch backends."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import keras

from uniopt import tree
from uniopt.backends.dtypes import dtype_name
from uniopt.compile import compile as compiled
from uniopt.errors import HyperparameterError
from uniopt.integrations.given import check_array, transformation_of
from uniopt.integrations.learning_rate import NAME, in_state, learning_rate_of, learning_rates, rate_to_set
from uniopt.integrations.written import read, write
from uniopt.transformation import GradientTransformation
from uniopt.typing import Schedule

_BACKENDS = ("jax", "torch")


@keras.saving.register_keras_serializable(package="uniopt")
class Optimizer(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras is untyped
    """A Keras optimizer that runs a transformation.

    Parameters
    ----------
    tx
        The transformation, such as ``uniopt.adamw(1e-3)``, or the text that one prints.
    name
        The optimizer's name.

    Raises
    ------
    HyperparameterError
        If `tx` is no transformation, or another library's optimizer, or Keras runs on another backend; when the
        configuration is asked for, if `tx` is made of functions that are not uniopt's.

    Notes
    -----
    A transformation sees the variables as an ordered dict by their paths, such as ``sequential/dense/kernel``. Masks
    and labels are functions of it, as `uniopt.weight_decay_mask` and `uniopt.path_labels` are.

    The state is kept in the optimizer's variables, so that ``model.save`` and ``save_weights`` keep it. The
    configuration has `tx` as the call that makes it. It is read as calls of uniopt's own functions; nothing else in a
    file is run.

    `learning_rate` is that of the transformation, if it has one; callbacks may set it, unless it follows a schedule.

    Examples
    --------
    >>> import uniopt
    >>> from uniopt.integrations.keras import Optimizer
    >>> optimizer = Optimizer(uniopt.sgd(0.5), name="descent")
    >>> optimizer.get_config()["tx"]
    'chain(identity(), scale_by_learning_rate(learning_rate=0.5, flip_sign=True))'
    """

    def __init__(self, tx: Any, name: str | None = None) -> None:
        if keras.backend.backend() not in _BACKENDS:
            raise HyperparameterError(
                f"Keras runs on {keras.backend.backend()}, expected {' or '.join(_BACKENDS)}. "
                "Set KERAS_BACKEND before Keras is imported."
            )
        given = transformation_of(read(tx) if isinstance(tx, str) else tx)  # a plain pair, which Keras copies
        super().__init__(_rate(given), name=name)
        self._given = given
        self._tx = in_state(given)
        self._advance = compiled(self._tx, donate=False)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step, which can be set to a number unless it follows a schedule."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        number = learning_rate.value if isinstance(learning_rate, keras.Variable) else learning_rate
        rate = rate_to_set(self._given, number)
        self._learning_rate.assign(rate)

    def build(self, variables: list[Any]) -> None:
        """Make the variables of the state, for those of a model."""
        super().build(variables)
        made, self._structure = tree.flatten(self._tx.init(self._by_path([x.value for x in variables])))
        settable = isinstance(self._learning_rate, keras.Variable)
        self._state = [
            self._learning_rate if settable and path == f"hyperparams.{NAME}" else self._kept(x, path)
            for x, path in zip(made, tree.dotted_paths(self._structure), strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, with the transformation as the call that makes it."""
        config = {"name": self.name, "tx": write(self._given)}
        if isinstance(self._learning_rate, keras.Variable):
            config[NAME] = float(self._learning_rate.value)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
        """Return the optimizer of a configuration."""
        given = dict(config)
        rate = given.pop(NAME, None)
        optimizer = cls(**given)
        if rate is not None:
            optimizer.learning_rate = rate
        return optimizer

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        # All variables at once, and none of the features that the base class puts around `update_step`.
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            check_array(gradient, keras.backend.backend(), partial("the gradient of {}".format, variable.path))
        found = {id(variable): gradient for gradient, variable in zip(grads, trainable_variables, strict=True)}
        gradients = self._by_path([found.get(id(x)) for x in self._trainable_variables])
        params = self._by_path([x.value for x in self._trainable_variables])
        state = tree.unflatten(self._structure, [None if x is None else x.value for x in self._state])
        params, state = self._advance(gradients, state, params)
        for variable, value in zip(self._trainable_variables, params.values(), strict=True):
            variable.assign(value)
        for variable, value in zip(self._state, tree.flatten(state)[0], strict=True):
            if variable is not None and variable is not self._learning_rate:
                variable.assign(value)

    def _by_path(self, values: list[Any]) -> OrderedDict[str, Any]:
        """Return values for the variables as the tree that the transformation sees, in the order of the variables."""
        paths: list[str] = []
        for x in self._trainable_variables:  # two variables may have one path
            paths.append(x.path if x.path not in paths else f"{x.path}_{len(paths)}")
        return OrderedDict(zip(paths, values, strict=True))

    def _kept(self, value: Any, path: str) -> Any:
        """Return a variable that holds an array of the state."""
        if value is None:
            return None
        return self.add_variable(
            tuple(value.shape), lambda *_, **__: value, dtype_name(value.dtype), name=path.replace("/", "_")
        )


class _Following(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras is untyped
    """A schedule as Keras has them."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def __call__(self, step: Any) -> Any:
        return self._schedule(keras.ops.convert_to_tensor(step))


def _rate(tx: GradientTransformation) -> Any:
    """Return the learning rate as Keras wants it; if there is none, it is an error to ask for it."""
    rates = learning_rates(tx)
    if len(rates) != 1:
        return partial(learning_rate_of, tx)
    return _Following(rates[0]) if callable(rates[0]) else float(rates[0])
