"""torch, and torch.optim in each of its forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import uniopt.integrations.torch as integration
from uniopt.cli.bench.optimizers import OF_TORCH, hyperparameters
from uniopt.cli.bench.peers import Library
from uniopt.cli.bench.sizes import Leaves
from uniopt.conformance.peers.torch import compilations
from uniopt.typing import Tree


class Arrays:
    """Tensors on a device."""

    xp = torch

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def put(self, x: np.ndarray) -> torch.Tensor:
        """Return a tensor on the array's memory, or a copy on another device."""
        return torch.from_numpy(x).to(self._device)

    def parameter(self, x: np.ndarray) -> torch.Tensor:
        """Return a copy as a module has it."""
        return torch.nn.Parameter(torch.from_numpy(x.copy()).to(self._device))

    def get(self, x: torch.Tensor) -> np.ndarray:
        """Return an array on the tensor's memory, or a copy of another device's."""
        values: np.ndarray = x.detach().cpu().numpy()
        return values

    def finish(self, results: Tree) -> None:
        """Wait for the device; on the CPU, torch computes when it is called."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def limit(self, threads: int) -> str:
        """Set the number of threads that an operation uses."""
        torch.set_num_threads(threads)
        where = f", on {torch.cuda.get_device_name()}" if self._device.type == "cuda" else ""
        return f"{torch.__version__}, torch.get_num_threads() = {torch.get_num_threads()}{where}"


RULES: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adadelta": (torch.optim.Adadelta, {}),
    "adafactor": (torch.optim.Adafactor, {"eps": (1e-15, 1e-3)}),  # the first one is squared
    "adagrad": (torch.optim.Adagrad, {"eps": 0.0, "initial_accumulator_value": 0.1}),
    "adam": (torch.optim.Adam, {}),
    "adamax": (torch.optim.Adamax, {}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}),
    "asgd": (torch.optim.ASGD, {}),
    "nadam": (torch.optim.NAdam, {"momentum_decay": 1e6}),  # so large that the momentum does not vary
    "radam": (torch.optim.RAdam, {"eps": 1e-30}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.9}),
    "rprop": (torch.optim.Rprop, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
}
"""The formulas that uniopt's hyperparameters give, in torch's words; what is left out has the same default."""

_FORMS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "for-loop": {"foreach": False},
    "compile": {"foreach": True},
    "uniopt": {},
}


class Optimizer:
    """torch.optim's optimizer of the same formula.

    Parameters
    ----------
    optimizer
        uniopt's name for it, or that of torch's dialect.
    form
        ``fused``, ``foreach``, ``for-loop``, ``compile`` for ``torch.compile(optimizer.step)``, or ``uniopt`` for the
        class of the same name in `uniopt.integrations.torch`.
    library
        Where the tensors are.
    params
        The parameters, which are copied.
    """

    def __init__(self, optimizer: str, form: str, library: Library, params: Leaves) -> None:
        self._library = library
        self._params: Any = {name: library.parameter(x) for name, x in params.items()}
        kind: Callable[..., torch.optim.Optimizer]
        if optimizer in OF_TORCH:
            kind, arguments = getattr(torch.optim, optimizer.removeprefix("torch.")), OF_TORCH[optimizer]
        else:
            kind, arguments = RULES[optimizer]
            arguments = {"lr": hyperparameters(optimizer)["learning_rate"], **arguments}
        make: Callable[..., torch.optim.Optimizer] = getattr(integration, kind.__name__) if form == "uniopt" else kind
        made = make(self._params.values(), **{**arguments, **_FORMS[form]})
        self._step: Callable[[], object] = made.step
        if form == "compile":
            torch.compiler.reset()  # a function that has been compiled for 8 optimizers is not compiled for a ninth
            self._step = torch.compile(made.step)
        self._compiles = form == "compile"

    def give(self, gradients: Leaves) -> None:
        """Take the gradients of the following steps."""
        for name, x in gradients.items():
            self._params[name].grad = self._library.put(x)

    def step(self) -> None:
        """Take a step.

        Raises
        ------
        RuntimeError
            If torch.compile was asked for, and left the step as it was.
        """
        before = compilations() if self._compiles else 0
        self._step()
        if self._compiles:
            self._compiles = False
            if compilations() == before:
                raise RuntimeError("torch.compile compiled no graph of the step; TORCH_LOGS=graph_breaks says why.")
        self._library.finish(self._params)

    def values(self) -> Leaves:
        """Return the parameters."""
        return {name: self._library.get(x) for name, x in self._params.items()}
