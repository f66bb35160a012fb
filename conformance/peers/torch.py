"""torch.optim: compared with, in float64, by its own dialect, and by uniopt's names where the formula is the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from uniopt.conformance.cases import Case
from uniopt.conformance.error_unit import Trajectory
from uniopt.conformance.peers.personality import Personality
from uniopt.conformance.problems import Problem

from uniopt import tree

vmap = torch.func.vmap

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
    if case.problem.is_complex:  # torch treats the two parts as two real numbers
        return False
    if case.dialect == "torch":
        # torch's Adafactor divides by the number of elements.
        return case.optimizer != "torch.Adafactor" or all(x.size > 0 for x in tree.leaves(case.problem.params))
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
    if case.dialect == "torch":
        rate, own = hyper.pop("lr", None), getattr(torch.optim, case.optimizer.removeprefix("torch."))
        return follow(partial(own, **hyper), rate, case.problem)
    make, _, _ = _PEERS[case.optimizer]
    return follow(lambda params: make(params, hyper), hyper["learning_rate"], case.problem)


def follow(make: Callable[..., torch.optim.Optimizer], rate: Any, problem: Problem) -> Trajectory:
    """Return the path of an optimizer in the data type of the problem's parameters.

    Parameters
    ----------
    make
        Returns the optimizer of a list of parameters.
    rate
        The learning rate, or a function of the step; None for the optimizer's own.
    problem
        The parameters and gradients; a gradient that is None is none of torch's either.
    """
    leaves = tree.flatten(problem.params)[0]
    params = [None if x is None else _tensor(x) for x in leaves]
    present = [p for p in params if p is not None]
    with scalars_like(next(str(x.dtype) for x in leaves if x is not None)):
        optimizer = make(present)
        path = [[None if p is None else p.numpy().copy() for p in params]]
        for n in range(problem.steps):
            _, gradient = problem.at(n, path[-1])
            if rate is not None:
                for group in optimizer.param_groups:
                    group["lr"] = rate(n) if callable(rate) else rate
            for p, g in zip(params, tree.flatten(gradient)[0], strict=True):
                if p is not None:
                    p.grad = None if g is None else _tensor(g)
            optimizer.step()
            path.append([None if p is None else p.numpy().copy() for p in params])
    return path


@contextmanager
def scalars_like(dtype: str) -> Iterator[None]:
    """Let torch keep its own scalars, such as rates and products of momentums, in that data type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def compilations() -> int:
    """Return how many graphs torch.compile has made so far."""
    from torch._dynamo.utils import counters  # slow to import

    return int(counters["stats"]["unique_graphs"])


def _tensor(x: Any) -> torch.Tensor:
    return torch.from_numpy(x.copy())


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Have new tensors made, unless it is said otherwise, as float64 and where they have no memory at all."""
    with scalars_like("float64"), torch.device("meta"):
        yield


PERSONALITIES = {"elsewhere": Personality(_elsewhere)}


class Guest:
    """An optimizer of somebody else as the suite takes its steps; it keeps the parameters and its state itself.

    Parameters
    ----------
    make
        A subclass of ``torch.optim.Optimizer``.
    hyper
        What it is called with, besides the parameters.
    saved
        A pickled ``state_dict`` to go on from.
    """

    def __init__(
        self, make: Callable[..., torch.optim.Optimizer], hyper: Mapping[str, Any], saved: bytes = b""
    ) -> None:
        self._make = make
        self._hyper = hyper
        self._saved = saved
        self._parameters: list[torch.nn.Parameter] = []
        self._optimizer: torch.optim.Optimizer | None = None

    def init(self, params: Any) -> tuple[()]:
        """Return the state that is passed around, which is empty."""
        return ()

    def __call__(self, gradients: Any, state: Any, params: Any, value: float) -> tuple[None, Any, Any]:
        """Take a step from these parameters."""
        leaves, structure = tree.flatten(params)
        present = [i for i, x in enumerate(leaves) if x is not None]
        if self._optimizer is None:
            self._parameters = [torch.nn.Parameter(leaves[i].clone()) for i in present]
            self._optimizer = self._make(self._parameters, **self._hyper)
            if self._saved:
                self._optimizer.load_state_dict(pickle.loads(self._saved))
        given = tree.flatten(gradients)[0]
        for i, own in zip(present, self._parameters, strict=True):
            own.data.copy_(leaves[i])
            own.grad = None if given[i] is None else given[i].clone()
        self._optimizer.step()
        results = dict(zip(present, self._parameters, strict=True))
        after = [results[i].detach().clone() if i in results else None for i in range(len(leaves))]
        return None, state, tree.unflatten(structure, after)

    def checkpoint(self) -> Callable[[], Guest]:
        """Return what makes the optimizer anew, with the state that it has saved."""
        assert self._optimizer is not None  # it has taken steps
        saved = pickle.dumps(self._optimizer.state_dict())
        return lambda: Guest(self._make, self._hyper, saved)
