"""Masks and labels under torch.compile, in one graph: trees, prefixes and functions of the parameters."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import pytest
import torch

import uniopt

Make = Callable[[], uniopt.GradientTransformation]


class Layer(NamedTuple):
    w: Any
    b: Any


@dataclasses.dataclass
class Model:
    w: Any
    b: Any


class Speed(Enum):
    FAST = 1
    SLOW = 2


def two(w: Any, b: Any) -> Any:
    return {"w": w, "b": b}


def deep(w: Any, b: Any) -> Any:
    return {"layers": [two(w, b), (w, {"scale": b})], "head": two(w, b)}


def vectors(params: Any) -> Any:
    return uniopt.tree.map(lambda p: p.ndim < 2, params)


FAST, SLOW = uniopt.sgd(0.5, momentum=0.5), uniopt.adam(0.25)
GROUPS = {"fast": FAST, "slow": SLOW}
LABELS = uniopt.path_labels({"*w": "fast", "*.b": "slow", "b": "slow"}, otherwise="slow")
MATRICES = uniopt.weight_decay_mask
ROWS = uniopt.MuonDimensionNumbers(1, 0)

MASKS: dict[str, tuple[Any, Make]] = {
    "tree": (two, lambda: uniopt.masked(SLOW, two(True, False))),
    "prefix": (deep, lambda: uniopt.masked(SLOW, {"layers": [False, (True, True)], "head": False})),
    "one bool": (two, lambda: uniopt.masked(SLOW, True)),
    "function": (deep, lambda: uniopt.masked(SLOW, vectors)),
    "of extra arguments": (two, lambda: uniopt.masked(SLOW, two(True, False), mask_compatible_extra_args=True)),
    "masked twice": (two, lambda: uniopt.masked(uniopt.masked(SLOW, two(True, False)), two(True, False))),
    "adamw": (two, lambda: uniopt.adamw(0.5, mask=two(True, False))),
    "lion": (deep, lambda: uniopt.lion(0.5, mask=MATRICES)),
    "lamb": (deep, lambda: uniopt.lamb(0.5, weight_decay=0.25, mask=MATRICES)),
    "injected": (deep, lambda: uniopt.inject_hyperparams(uniopt.adamw)(0.5, mask=MATRICES)),
    "freeze": (two, lambda: uniopt.chain(SLOW, uniopt.freeze(two(False, True)))),
    "freeze, function": (deep, lambda: uniopt.chain(SLOW, uniopt.freeze(vectors))),
    "selective": (two, lambda: uniopt.selective_transform(SLOW, freeze_mask=two(False, True))),
    "selective, function": (deep, lambda: uniopt.selective_transform(SLOW, freeze_mask=vectors)),
    "NamedTuple": (Layer, lambda: uniopt.adamw(0.5, mask=Layer(True, False))),
    "dataclass": (Model, lambda: uniopt.adamw(0.5, mask=Model(True, False))),
    "OrderedDict": (lambda w, b: OrderedDict(w=w, b=b), lambda: uniopt.adamw(0.5, mask=MATRICES)),
    "defaultdict": (lambda w, b: defaultdict(list, w=w, b=b), lambda: uniopt.adamw(0.5, mask=MATRICES)),
}
PARTITIONS: dict[str, tuple[Any, Make]] = {
    "labels": (two, lambda: uniopt.partition(GROUPS, two("fast", "slow"))),
    "labels in another order": (two, lambda: uniopt.partition(GROUPS, {"b": "slow", "w": "fast"})),
    "prefix of labels": (deep, lambda: uniopt.partition(GROUPS, {"layers": ["slow", "fast"], "head": "slow"})),
    "one label": (deep, lambda: uniopt.partition(GROUPS, "slow")),
    "path_labels": (deep, lambda: uniopt.partition(GROUPS, LABELS)),
    "path_labels of fields": (Layer, lambda: uniopt.partition(GROUPS, LABELS)),
    "labels of an Enum": (
        two,
        lambda: uniopt.partition({Speed.FAST: FAST, Speed.SLOW: SLOW}, two(Speed.FAST, Speed.SLOW)),
    ),
    "nested": (
        deep,
        lambda: uniopt.partition(
            {"a": uniopt.partition(GROUPS, LABELS), "b": uniopt.adamw(0.5, mask=MATRICES)}, {"layers": "a", "head": "b"}
        ),
    ),
    "muon": (deep, lambda: uniopt.muon(0.5)),
    "muon with decay": (deep, lambda: uniopt.muon(0.5, weight_decay=0.25, weight_decay_mask=MATRICES)),
    "muon with numbers": (two, lambda: uniopt.muon(0.5, muon_weight_dimension_numbers=two(ROWS, None))),
}
QUICK = ("tree", "adamw", "selective, function", "path_labels", "muon")
CASES = [
    pytest.param(*case, id=name, marks=() if name in QUICK else pytest.mark.wide)
    for name, case in {**MASKS, **PARTITIONS}.items()
]


def run(step: Any, state: Any, params: Any, gradients: Sequence[Any]) -> list[Any]:
    """Return the leaves of what the steps lead to."""
    for grads in gradients:
        updates, state = step(grads, state, params)
        params = uniopt.apply_updates(params, updates)
    return uniopt.tree.leaves((params, state))


def problem(make_tree: Any) -> tuple[Any, ...]:
    """Return parameters and three gradients."""
    w, b = torch.tensor([[1.0, -2.0], [3.0, 0.5], [0.25, 4.0]]), torch.tensor([1.0, -1.0])
    # Clones, because torch.compile looks whether a tensor is there twice.
    return tuple(
        uniopt.tree.map(torch.clone, x)
        for x in (make_tree(w, b), *(make_tree(torch.sin(k + w), torch.cos(k + b)) for k in range(3)))
    )


def check_one_graph(tx: uniopt.GradientTransformation, params: Any, *gradients: Any) -> None:
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter, state = CompileCounter(), tx.init(params)
    compiled = torch.compile(tx.update, fullgraph=True, backend=counter)
    found, expected = run(compiled, state, params, gradients), run(tx.update, state, params, gradients)
    torch.testing.assert_close(found, expected)
    assert counter.frame_count == 1


@pytest.mark.parametrize(("make_tree", "make"), CASES)
def test_one_graph(make_tree: Any, make: Make) -> None:
    check_one_graph(make(), *problem(make_tree))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: uniopt.masked(SLOW, {"layers": True, "head": two(True, False)}), id="mask"),
        pytest.param(lambda: uniopt.partition(GROUPS, LABELS), id="path_labels", marks=pytest.mark.wide),
        pytest.param(lambda: uniopt.partition(GROUPS, deep("fast", "slow")), id="labels", marks=pytest.mark.wide),
    ],
)
def test_one_graph_where_gradients_are_missing(make: Make) -> None:
    """The mask may go on below a gradient of None, which stands for a whole subtree."""
    params, *gradients = problem(deep)
    check_one_graph(make(), params, *({**grads, "head": two(None, grads["head"]["b"])} for grads in gradients))
    check_one_graph(make(), *({"layers": x["layers"], "head": None} for x in (params, *gradients)))


def test_a_wrong_mask_is_named() -> None:
    tx = uniopt.masked(SLOW, {"w": True, "c": False})
    params = two(torch.ones(2), torch.ones(1))
    torch._dynamo.reset()
    with pytest.raises(Exception, match="The mask is no prefix of the parameters: at mask it has a dict with"):
        torch.compile(tx.update, fullgraph=True, backend="eager")(params, tx.init(two(None, None)), params)
