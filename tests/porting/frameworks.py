"""One optimizer of each framework on parameters by name: it runs, it is ported, and it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import mlx.core as mx
import mlx.utils
import numpy as np

from tests.dialects.keras_runs import host
from tests.dialects.keras_runs import scalars_like as keras_scalars_like
from tests.porting.runs import Named, TorchRun, error, optax_run, uniopt_run
from uniopt import porting

Convert = Callable[[Named], Any] | None


class Torch:
    """`make` is a pair of the optimizer's class and its hyperparameters."""

    def __init__(self, make: tuple[str, dict[str, Any]], params: Named) -> None:
        self._run = TorchRun(make[0], params, make[1])

    def run(self, gradients: Sequence[Named]) -> None:
        self._run.run(gradients)

    @property
    def params(self) -> Named:
        return self._run.params

    def ported(self, convert: Convert = None) -> Any:
        return porting.from_torch(self._run.optimizer, self._run.named, "numpy", convert)

    def load(self, tx: Any, state: Any, convert: Convert = None) -> None:
        porting.to_torch(tx, state, self._run.optimizer, self._run.named, convert)


class Optax:
    """`make` returns a transformation of optax."""

    def __init__(self, make: Callable[[], Any], params: Named) -> None:
        self._tx = make()
        self._params = jax.tree.map(jax.numpy.asarray, params)
        self._state = self._tx.init(self._params)

    def run(self, gradients: Sequence[Named]) -> None:
        params, self._state = optax_run(self._tx, self._state, self._params, gradients)
        self._params = jax.tree.map(jax.numpy.asarray, params)

    @property
    def params(self) -> Named:
        return jax.tree.map(np.asarray, self._params)

    def ported(self) -> Any:
        return porting.from_optax(self._tx, self._state, self._params, "numpy")

    def load(self, tx: Any, state: Any) -> None:
        _, self._state = porting.to_optax(tx, state, self._params, self._tx)


class Mlx:
    """`make` returns an optimizer of MLX."""

    def __init__(self, make: Callable[[], Any], params: Named) -> None:
        self.optimizer = make()
        self.params_of_framework = _on_mlx(params)

    def run(self, gradients: Sequence[Named]) -> None:
        for gradient in gradients:
            given = self.params_of_framework
            self.params_of_framework = self.optimizer.apply_gradients(_on_mlx(gradient), given)

    @property
    def params(self) -> Named:
        return {name: np.array(x) for name, x in mlx.utils.tree_flatten(self.params_of_framework)}

    def ported(self, convert: Convert = None) -> Any:
        return porting.from_mlx(self.optimizer, self.params_of_framework, "numpy", convert)

    def load(self, tx: Any, state: Any, convert: Convert = None) -> None:
        porting.to_mlx(tx, state, self.optimizer, self.params_of_framework, convert)


class Keras:
    """`make` returns an optimizer of Keras."""

    def __init__(self, make: Callable[[], Any], params: Named) -> None:
        self._dtype = str(next(iter(params.values())).dtype)
        with keras_scalars_like(self._dtype):
            self.variables = {name: keras.Variable(np.array(x), dtype=x.dtype, name=name) for name, x in params.items()}
            self.optimizer = make()
            self.optimizer.build(list(self.variables.values()))

    def run(self, gradients: Sequence[Named]) -> None:
        with keras_scalars_like(self._dtype):
            for gradient in gradients:
                values = [keras.ops.convert_to_tensor(gradient[name], dtype=self._dtype) for name in self.variables]
                self.optimizer.apply(values, list(self.variables.values()))

    @property
    def params(self) -> Named:
        return {name: host(x) for name, x in self.variables.items()}

    def ported(self, convert: Convert = None) -> Any:
        return porting.from_keras(self.optimizer, "numpy", convert)

    def load(self, tx: Any, state: Any, convert: Convert = None) -> None:
        with keras_scalars_like(self._dtype):
            porting.to_keras(tx, state, self.optimizer, convert)


SIDES: dict[str, Any] = {"torch": Torch, "optax": Optax, "mlx": Mlx, "keras": Keras}


def there_and_back(side: str, make: Any, start: Named, stream: Sequence[Named], convert: Any) -> float:
    """Return by how many units uniopt differs after a third of the stream, or the framework again after another one."""
    steps = len(stream) // 3
    whole, begun = SIDES[side](make, start), SIDES[side](make, start)
    whole.run(stream[: 2 * steps])
    begun.run(stream[:steps])
    tx, state = begun.ported(convert)
    later = [convert(g) for g in stream[steps : 2 * steps]]
    params, state = uniopt_run(tx, state, convert(begun.params), later, "numpy")
    on_the_way = error(params, convert(whole.params), convert(start))
    back = SIDES[side](make, {name: x.copy() for name, x in whole.params.items()})
    back.load(tx, state, convert)
    whole.run(stream[2 * steps :])
    back.run(stream[2 * steps :])
    return max(on_the_way, error(back.params, whole.params, start))


def _on_mlx(named: Named) -> Any:
    dtypes = {"float32": mx.float32, "float64": mx.float64}
    return {name: mx.array(x, dtype=dtypes[str(x.dtype)]) for name, x in named.items()}
