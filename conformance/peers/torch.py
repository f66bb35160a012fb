"""torch.optim: compared with, in float64, where its formula is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from uniopt.conformance.cases import Case
from uniopt.conformance.error_unit import Trajectory

from uniopt import tree

Make = Callable[[list[torch.Tensor], Mapping[str, Any]], torch.optim.Optimizer]


def _sgd(params: list[torch.Tensor], hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, momentum=hyper.get("momentum") or 0.0, nesterov=hyper.get("nesterov", False))


def _adam(params: list[torch.Tensor], hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, betas=_betas(hyper), eps=hyper.get("eps", 1e-8))


def _adamw(params: list[torch.Tensor], hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    decay = hyper.get("weight_decay", 1e-4)
    return torch.optim.AdamW(params, betas=_betas(hyper), eps=hyper.get("eps", 1e-8), weight_decay=decay)


def _rmsprop(params: list[torch.Tensor], hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(
        params,
        alpha=hyper.get("decay", 0.9),
        eps=hyper.get("eps", 1e-8),
        centered=hyper.get("centered", False),
        momentum=hyper.get("momentum") or 0.0,
    )


def _betas(hyper: Mapping[str, Any]) -> tuple[float, float]:
    return hyper.get("b1", 0.9), hyper.get("b2", 0.999)


# Which optimizer, and the hyperparameters that it has too; any other value but the one given is another formula.
_PEERS: dict[str, tuple[Make, set[str], dict[str, Any]]] = {
    "sgd": (_sgd, {"learning_rate", "momentum", "nesterov"}, {}),
    "adam": (_adam, {"learning_rate", "b1", "b2", "eps"}, {}),
    "adamw": (_adamw, {"learning_rate", "b1", "b2", "eps", "weight_decay"}, {}),
    "rmsprop": (
        _rmsprop,
        {"learning_rate", "decay", "eps", "centered", "momentum", "eps_in_sqrt"},
        {"eps_in_sqrt": False},
    ),
}


def covers(case: Case) -> bool:
    """Return whether torch has the optimizer with the same formula."""
    if case.optimizer not in _PEERS:
        return False
    hyper = case.plain_hyper()
    _, shared, needed = _PEERS[case.optimizer]
    if hyper.keys() - shared or any(hyper.get(name) != x for name, x in needed.items()):
        return False
    if case.optimizer == "rmsprop" and hyper.get("momentum") and callable(hyper["learning_rate"]):
        return False  # torch applies the rate after the momentum, which is the same for a constant one only
    return not case.problem.skips  # a parameter that is skipped does not count the step


def trajectory(case: Case) -> Trajectory:
    """Return the path of torch's optimizer in float64."""
    hyper = case.plain_hyper()
    make, _, _ = _PEERS[case.optimizer]
    params = [_tensor(p) for p in tree.leaves(case.problem.params)]
    optimizer = make(params, hyper)
    rate = hyper["learning_rate"]
    path = [[p.numpy().copy() for p in params]]
    for n, gradient in enumerate(case.problem.gradients):
        for group in optimizer.param_groups:
            group["lr"] = rate(n) if callable(rate) else rate
        for p, g in zip(params, tree.leaves(gradient), strict=True):
            p.grad = _tensor(g)
        optimizer.step()
        path.append([p.numpy().copy() for p in params])
    present = [x is not None for x in tree.flatten(case.problem.params)[0]]
    steps = [iter(leaves) for leaves in path]
    return [[next(leaves) if here else None for here in present] for leaves in steps]


def compilations() -> int:
    """Return how many graphs torch.compile has made so far."""
    from torch._dynamo.utils import counters  # slow to import

    return int(counters["stats"]["unique_graphs"])


def _tensor(x: Any) -> torch.Tensor:
    return torch.from_numpy(x.copy())
