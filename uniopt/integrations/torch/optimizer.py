"""A transformation as a torch.optim.Optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch
from torch._C._autograd import _profiler_enabled
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from uniopt.backends import registry
from uniopt.errors import LeafError
from uniopt.integrations.given import transformation_of
from uniopt.integrations.torch.meaning import Meaning, OfTransformation
from uniopt.integrations.torch.plan import Plan, Program
from uniopt.integrations.torch.slots import Naming
from uniopt.transformation import GradientTransformation

Params = Iterable[Any]
"""Parameters, pairs (name, parameter), or groups: dicts with ``params`` and other entries."""


class Optimizer(torch.optim.Optimizer):
    """A transformation as a ``torch.optim.Optimizer``, which takes compiled steps in the parameters' own memory.

    Everything that goes round an optimizer in torch works as it is: parameter groups, learning rate schedulers, hooks,
    closures, ``GradScaler``, ``clip_grad_norm_``, state dicts, distributed parameters.

    Parameters
    ----------
    params
        The parameters, such as ``model.parameters()`` or ``model.named_parameters()``, or dicts of groups of them.
    tx
        The transformation. It sees the parameters that have had gradients, of all groups, as one dict: by name if they
        were given with names, or else by number (``"0"``, ``"1"``...), with ``None`` in the place of the others.

    Raises
    ------
    HyperparameterError
        If `tx` is no transformation, or another library's optimizer, or an entry of a group is not what it stands for.
    LeafError
        If a parameter is no tensor of torch.

    Notes
    -----
    A number of `tx` whose name stands for one number throughout is an entry of the groups: ``lr`` (the
    ``learning_rate``), ``weight_decay``, ``betas`` (``b1`` and ``b2``), ``momentum`` (the decay of `uniopt.trace`),
    ``eps``... Schedulers and people change it there, a group may have its own, and nothing is compiled again: learning
    rate and weight decay are inputs of the compiled step, and others become inputs when they change for the first time.
    A weight decay or momentum of 0 is none, and to make it one compiles the step again.

    If `tx` has a schedule, or several learning rates, or none that goes by this name, ``lr`` is 1.0, and multiplies
    what the transformation says. So a schedule stays what it is, and a scheduler may come on top.

    A parameter whose gradient is ``None`` is skipped, and a step without any gradient is none. A step count, as Adam's,
    is common to all parameters, unless `tx` is a ``uniopt.count_by_leaf(...)``; the classes with torch's names count
    for each parameter, as torch does.

    ``state[p]`` has the slots of a parameter by the names of their fields, such as ``mu`` and ``nu``. What belongs to
    no parameter, such as a common step count, is with the first one's. A state that is loaded is brought to the dtypes
    that the transformation has, which are not always those of the parameters.

    If ``step`` is given a closure, the transformation gets the loss as the extra argument ``value``.

    Examples
    --------
    >>> import torch
    >>> import uniopt
    >>> from uniopt.integrations.torch import Optimizer
    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = Optimizer(model.parameters(), uniopt.lion(1e-4))
    >>> scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     model(torch.ones(2, 4)).square().mean().backward()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.0
    """

    _plan: Plan | None = None
    _program: Program | None = None
    _loaded = False
    _naming = Naming()
    _takes_sparse = False

    def __init__(self, params: Params, tx: GradientTransformation) -> None:
        self._begin(params, OfTransformation(transformation_of(tx)))
        self.tx = tx

    def _begin(self, params: Params, meaning: Meaning) -> None:
        self._meaning = meaning
        self._varied: set[str] = set()
        if isinstance(params, torch.nn.Module):
            raise LeafError("Found a module, expected its parameters. Pass model.parameters().")
        super().__init__(params, dict(meaning.defaults))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; entries that it does not have are those of the constructor."""
        if isinstance(param_group, dict):
            given = param_group["params"]
            if not isinstance(given, torch.Tensor | set):
                param_group["params"] = list(given)
                _check_leaves(param_group["params"])
            self._meaning.make([{**self.defaults, **param_group}], {})  # errors now rather than at the first step
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None, **extra: Any) -> Any:
        """Take a step.

        Parameters
        ----------
        closure
            Computes the loss and the gradients anew, and returns the loss.
        **extra
            Extra arguments of the transformation's ``update``.

        Returns
        -------
        object
            What the closure returned; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            if isinstance(loss, torch.Tensor) and loss.numel() == 1:
                extra.setdefault("value", loss.detach().reshape(()))
            elif isinstance(loss, int | float):
                extra.setdefault("value", float(loss))
        if torch.compiler.is_compiling():
            torch.compiler.disable(self._step)(extra)  # type: ignore[no-untyped-call]  # torch has no type for it
        else:
            self._step(extra)
        return loss

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step with what torch puts round it, hooks and a record for profilers, where there are any.

        To write a record that nobody reads takes longer than a step of small parameters.
        """
        watched = torch.optim.Optimizer.profile_hook_step(func)

        @wraps(func)
        def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
            hooks = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
            hooks = hooks or _global_optimizer_pre_hooks or _global_optimizer_post_hooks
            is_watched = hooks or torch.compiler.is_compiling() or _profiler_enabled()
            return (watched if is_watched else func)(self, *args, **kwargs)

        return step

    def _step(self, extra: dict[str, Any]) -> None:
        if self._plan is not None and self._plan.run(self.param_groups, self.state, extra):
            return
        if all(p.grad is None for group in self.param_groups for p in group["params"]):
            return
        self._plan = Plan(
            self.param_groups,
            self.state,
            meaning=self._meaning,
            naming=self._naming,
            leaf=self._leaf(),
            takes_sparse=self._takes_sparse,
            varied=self._varied,
            program=self._program,
            loaded=self._loaded,
        )
        self._program, self._loaded = self._plan.program, False
        self._plan.run(self.param_groups, self.state, extra)

    def _leaf(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Return what shows the transformation a parameter; None if it sees all of them as they are."""
        return None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, without changing its dtypes to those of the parameters."""
        handle = self.register_load_state_dict_pre_hook(_wrap)  # the last one: others see the state as it is
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()

    def __getstate__(self) -> dict[str, Any]:
        own = {"_meaning": self._meaning, "_varied": self._varied}
        shown = {"tx": self.tx} if "tx" in vars(self) else {}
        return {**super().__getstate__(), **own, **shown}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = None
        for group in self.param_groups:  # those of an older version have fewer entries
            for name, value in self._meaning.defaults.items():
                group.setdefault(name, value)
        for p, slots in self.state.items():
            if isinstance(slots, _Wrapped):
                self._loaded = True
                self.state[p] = slots.on(p)


class _Wrapped:
    """A parameter's state in a form that torch.optim.Optimizer takes over as it is."""

    def __init__(self, slots: Any) -> None:
        self._slots = slots

    def on(self, p: Any) -> Any:
        """Return the state, on the device of a parameter."""
        if not isinstance(p, torch.Tensor) or not isinstance(self._slots, dict):
            return self._slots
        return {name: x.to(p.device) if isinstance(x, torch.Tensor) else x for name, x in self._slots.items()}


def _wrap(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    return {**state_dict, "state": {key: _Wrapped(slots) for key, slots in state_dict["state"].items()}}


def _check_leaves(params: list[Any]) -> None:
    """Raise LeafError for arrays of other libraries."""
    for i, given in enumerate(params):
        x = given[1] if isinstance(given, tuple) and len(given) == 2 else given
        found = None if isinstance(x, torch.Tensor) else registry.find(type(x))
        if found is not None:
            raise LeafError(
                f"params[{i}] is an array of {found.name} ({type(x).__name__}), expected a torch.nn.Parameter. "
                f"Arrays of {found.name} need no torch optimizer: call the transformation's own init and update, or "
                "uniopt.compile(tx)."
            )
