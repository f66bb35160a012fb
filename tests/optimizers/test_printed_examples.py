"""The objective values that optax's documentation prints for its examples, on every library.

Each example minimises the sum of squares from (1, 2, 3) in five steps. The figures are those of optax's API page.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uniopt.backends import get

import uniopt
from uniopt.dialects import optax as optax_dialect

EXAMPLES: dict[str, Any] = {
    example["name"]: example
    for example in json.loads((Path(__file__).parents[1] / "data/seed_examples.json").read_text(encoding="utf-8"))
}


def build(name: str, call: str) -> uniopt.GradientTransformation:
    """Return the transformation of an example, such as ``learning_rate=0.003``."""
    keywords = ast.parse(f"f({call})", mode="eval").body.keywords  # type: ignore[attr-defined]  # it is a call
    settings = {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}
    if name == "rprop":  # printed with every step one step late
        return optax_dialect.rprop(**settings)
    if name == "optimistic_gradient_descent":  # printed with a doubled first step
        return optax_dialect.optimistic_gradient_descent(**settings, zero_first_gradient=True)
    return getattr(uniopt, name)(**settings)


def test_there_are_25_examples() -> None:
    assert len(EXAMPLES) == 25


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "array_api_strict", "mlx"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_printed_values_come_out(name: str, library: str) -> None:
    backend = get(library)
    tx = build(name, EXAMPLES[name]["call"])
    params = backend.from_numpy(np.asarray([1.0, 2.0, 3.0], dtype=np.float32))
    state = tx.init(params)
    found = [14.0]
    for _ in range(5):
        value = backend.xp.sum(params * params)
        updates, state = tx.update(2 * params, state, params, value=value)
        params = uniopt.apply_updates(params, updates)
        found.append(float(np.sum(backend.to_numpy(params).astype(np.float64) ** 2)))
    for printed, value in zip(EXAMPLES[name]["values"], found, strict=True):
        digits = len(printed.partition("E")[0].replace(".", "").lstrip("0"))
        assert float(f"{value:.{digits - 1}e}") == float(printed)
