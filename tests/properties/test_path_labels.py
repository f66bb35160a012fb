"""Labels from patterns of paths, and the other forms that labels and masks have."""

from __future__ import annotations

import dataclasses
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from uniopt.backends.protocol import Backend

import uniopt
from tests.properties.problems import host, moved
from uniopt import errors, tree

F = np.float32


class Layer(NamedTuple):
    weight: Any
    bias: Any


@dataclasses.dataclass
class Network:
    encoder: Any
    head: Any


def network() -> Network:
    layers = [Layer(np.ones((2, 2), F), np.ones(2, F)), Layer(np.ones((2, 2), F), None)]
    return Network(
        {"layers": layers, "norm": OrderedDict(scale=np.ones(2, F))}, (np.ones(3, F), {0: np.asarray(1.0, F)})
    )


def test_paths() -> None:
    assert tree.dotted_paths(tree.flatten(network())[1]) == [
        "encoder.layers.0.weight",
        "encoder.layers.0.bias",
        "encoder.layers.1.weight",
        "encoder.layers.1.bias",
        "encoder.norm.scale",
        "head.0",
        "head.1.0",
    ]
    assert tree.dotted_paths(tree.flatten(np.ones(2))[1]) == [""]
    assert tree.dotted_paths(tree.flatten({"encoder.layers.0.bias": np.ones(2)})[1]) == ["encoder.layers.0.bias"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"*.weight": "w", "*.bias": "b"}, "w b w b rest rest rest"),
        ({"encoder.*": "e", "head.?": "h", "head.*.*": "n"}, "e e e e e h n"),
        ({"encoder.layers.[0].*": "first", "*.[!0].weight": "later"}, "first first later rest rest rest rest"),
        ({"*.WEIGHT": "w", "bias": "b"}, "rest rest rest rest rest rest rest"),
        ({}, "rest rest rest rest rest rest rest"),
    ],
)
def test_patterns(patterns: Any, expected: str) -> None:
    found = uniopt.path_labels(patterns, otherwise="rest")(network())
    assert isinstance(found, Network)
    assert isinstance(found.encoder["layers"][0], Layer)
    assert tree.flatten(found)[0] == expected.split()


def test_torchs_parameter_groups(backend: Backend) -> None:
    """As torch's two groups with their own decay: the biases do not decay."""
    params = moved({"dense": {"weight": np.full((2, 2), 2.0, F), "bias": np.full(2, 2.0, F)}}, backend)
    labels = uniopt.path_labels({"*.bias": "no_decay", "*.weight": "decay"})
    tx = uniopt.partition(
        {"decay": uniopt.adamw(0.5, weight_decay=0.5), "no_decay": uniopt.adamw(0.5, weight_decay=0.0)}, labels
    )
    grads = tree.map(lambda p: 0 * p, params)
    updates, _ = tx.update(grads, tx.init(params), params)
    found = host(updates, backend)["dense"]
    np.testing.assert_array_equal(found["weight"], np.full((2, 2), -0.5))
    np.testing.assert_array_equal(found["bias"], np.zeros(2))


def test_as_a_mask() -> None:
    params = {"dense": {"weight": np.ones(2), "bias": np.ones(2)}}
    mask = uniopt.path_labels({"*.bias": False}, otherwise=True)
    updates, _ = (tx := uniopt.add_decayed_weights(1.0, mask=mask)).update(params, tx.init(params), params)
    assert tree.map(float, tree.map(np.max, updates)) == {"dense": {"weight": 2.0, "bias": 1.0}}


def test_unmatched_parameters_are_listed() -> None:
    with pytest.raises(errors.HyperparameterError) as caught:
        uniopt.path_labels({"*.weight": "w", "head.1.*": "h"})(network())
    message = str(caught.value)
    assert "No pattern matches encoder.layers.0.bias, encoder.norm.scale, head.0:" in message
    assert "Several" not in message


def test_parameters_that_several_patterns_match_are_listed() -> None:
    """The same label twice is no exception: torch refuses a parameter in two groups as well."""
    with pytest.raises(errors.HyperparameterError) as caught:
        uniopt.path_labels({"*.weight": "w", "encoder.layers.0.*": "w", "head*": "h", "head.0": "z", "*.scale": "s"})(
            network()
        )
    message = str(caught.value)
    assert "encoder.layers.0.weight ('*.weight' and 'encoder.layers.0.*')" in message
    assert "head.0 ('head*' and 'head.0')" in message
    assert "No pattern" not in message


def test_a_missing_gradient_needs_no_pattern() -> None:
    tx = uniopt.partition({"w": uniopt.sgd(0.5)}, uniopt.path_labels({"w": "w"}))
    grads = {"w": np.ones(2), "frozen": None}
    updates, _ = tx.update(grads, tx.init(grads))
    assert updates["frozen"] is None


@pytest.mark.parametrize(
    ("patterns", "message"), [({3: "a"}, "3 is no string"), ({"*": None}, r"label of '\*' is None")]
)
def test_bad_patterns(patterns: Any, message: str) -> None:
    with pytest.raises(errors.HyperparameterError, match=message):
        uniopt.path_labels(patterns)


def test_it_is_a_value() -> None:
    labels = uniopt.path_labels({"*.bias": "b"}, otherwise="w")
    assert labels == pickle.loads(pickle.dumps(labels))
    assert labels != uniopt.path_labels({"*.bias": "b"})
    assert repr(labels) == "path_labels({'*.bias': 'b'}, otherwise='w')"
    assert repr(uniopt.path_labels({"a": 1})) == "path_labels({'a': 1})"


class TestForms:
    """What may stand for a mask or for labels."""

    def test_zero_dimensional_bools(self, backend: Backend) -> None:
        for value in (True, False):
            mask = backend.from_numpy(np.asarray([value]))[0]
            tx = uniopt.masked(uniopt.scale(2.0), {"w": mask})
            assert tx == uniopt.masked(uniopt.scale(2.0), {"w": value})

    def test_a_container_that_can_be_called(self) -> None:
        """Such as a module of equinox, which is a dataclass that JAX knows."""
        import equinox
        import jax.numpy as jnp

        class Linear(equinox.Module):
            w: Any
            b: Any

            def __call__(self, x: Any) -> Any:
                return self.w @ x + self.b

        params = Linear(jnp.ones(2), jnp.ones(()))
        for tx in (
            uniopt.masked(uniopt.scale(2.0), Linear(True, False)),
            uniopt.partition({"a": uniopt.scale(2.0), "b": uniopt.identity()}, Linear("a", "b")),
        ):
            updates, _ = tx.update(params, tx.init(params))
            assert (float(updates.w[0]), float(updates.b)) == (2.0, 1.0)

    def test_a_function_that_is_a_dataclass(self) -> None:
        @dataclasses.dataclass
        class Vectors:
            ndim: int = 1

            def __call__(self, params: Any) -> Any:
                return tree.map(lambda p: p.ndim == self.ndim, params)

        params = {"w": np.ones((2, 2)), "b": np.ones(2)}
        updates, _ = (tx := uniopt.masked(uniopt.scale(2.0), Vectors())).update(params, tx.init(params))
        assert tree.map(lambda x: float(np.max(x)), updates) == {"w": 1.0, "b": 2.0}

    @pytest.mark.parametrize("compatible", [True, False])
    def test_extra_arguments_that_are_trees(self, compatible: bool) -> None:
        """As optax's: with the option, each transformation sees its own part of them."""
        seen: list[Any] = []

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
            seen.append(extra["tags"])
            return updates, state

        inner = uniopt.GradientTransformation(lambda params: (), update)
        grads, tags = {"w": np.ones(2), "b": np.ones(1)}, {"w": "matrix", "b": "vector"}
        for tx in (
            uniopt.masked(inner, {"w": True, "b": False}, mask_compatible_extra_args=compatible),
            uniopt.partition(
                {"x": inner, "y": uniopt.identity()}, {"w": "x", "b": "y"}, mask_compatible_extra_args=compatible
            ),
        ):
            tx.update(grads, tx.init(grads), tags=tags, value=1.0)
            assert ("compatible" in repr(tx)) == compatible
        assert seen == [{"w": "matrix", "b": uniopt.MaskedNode()} if compatible else tags] * 2


def test_multi_transform_is_partition() -> None:
    assert uniopt.multi_transform is uniopt.partition
