"""Optimizers and array libraries that are not uniopt's own, named on the command line.

``package.module:factory`` returns a gradient transformation of uniopt; ``torch:package.module.Class`` is a
``torch.optim.Optimizer``, ``optax:package.module.factory`` returns a transformation of optax. A backend is
``package.module:Backend``, a class or an instance. Modules may stand in the current folder.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from uniopt.conformance import peers, reference
from uniopt.conformance.cases import Case, all_cases
from uniopt.conformance.objectives import OBJECTIVES
from uniopt.conformance.problems import PROBLEMS
from uniopt.conformance.programs import Eager
from uniopt.conformance.settings import SETTINGS, Written

from uniopt import backends

Names = Sequence[str]

_FRAMEWORKS = ("optax", "torch")
"""Those whose optimizers can be tested that are not written with uniopt."""

_origins: dict[str, str] = {}
"""How the command line has been told of each backend that is registered here, by the backend's name."""


class ThirdPartyError(ValueError):
    """Something that was named could not be found, or cannot be tested as it was named."""


@dataclass(frozen=True)
class Guests:
    """What was named on the command line.

    Attributes
    ----------
    optimizers, backends
        Their names, as above; those without a colon are uniopt's own.
    reference
        The optimizer of `uniopt.conformance.reference` that the optimizers have to follow; empty for none.
    mapping
        ``theirs=ours`` or ``theirs=first:second``, for a tuple of two, separated by commas: which of their
        parameters is which of the reference's. Empty where the names are the same.
    """

    optimizers: Names = ()
    backends: Names = ()
    reference: str = ""
    mapping: str = ""

    def register(self) -> list[str]:
        """Make the backends known, and return the names of all that were asked for."""
        return [_registered(name) if ":" in name else name for name in self.backends]

    def cases(self) -> list[Case]:
        """Return uniopt's own cases, and those of the optimizers that are not."""
        found = all_cases()
        for name in self.optimizers:
            if ":" in name:
                found += list(self._cases_of(name))
        return found

    def _cases_of(self, name: str) -> Iterator[Case]:
        prefix, _, dotted = name.partition(":")
        library = prefix if prefix in _FRAMEWORKS else None
        make = _attribute(*dotted.rsplit(".", 1), named=name) if library else _attribute(prefix, dotted, named=name)
        if not callable(make):
            raise ThirdPartyError(f"{name} is {make!r}, expected a class or a function that makes an optimizer.")
        loops = self._reference(name)
        options = [
            *("--optimizer", name),
            *(("--reference", self.reference) if self.reference else ()),
            *(("--map", self.mapping) if self.mapping else ()),
        ]
        for setting, theirs, ours in self._settings(make, loops, name):
            for problem in (*PROBLEMS.values(), *OBJECTIVES.values()):
                if library == "torch" and problem.skips:  # it counts the steps of each parameter
                    continue
                if problem.name == "normal" or problem.brief or setting == "default":
                    yield Case(
                        name,
                        setting,
                        problem,
                        ours,
                        _maker(library, make, theirs),
                        loops,
                        options=options,
                        **_kind(library),
                    )

    def _reference(self, name: str) -> Callable[..., Any] | None:
        if not self.reference:
            if name.partition(":")[0] in _FRAMEWORKS:
                raise ThirdPartyError(
                    f"{name} runs on one library, so nothing but a reference can tell whether it is right. Name the "
                    f"optimizer that it should be, such as --reference adam. Known: {', '.join(reference.OPTIMIZERS)}."
                )
            return None
        if self.reference not in reference.OPTIMIZERS:
            raise ThirdPartyError(
                f"No reference is called {self.reference!r}. Known: {', '.join(reference.OPTIMIZERS)}."
            )
        return reference.OPTIMIZERS[self.reference]

    def _settings(
        self, make: Callable[..., Any], loops: Callable[..., Any] | None, name: str
    ) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield the names of settings, and their hyperparameters as the optimizer and as the reference take them."""
        if loops is None:
            needed = [key for key, p in inspect.signature(make).parameters.items() if _is_needed(p)]
            if needed:
                raise ThirdPartyError(
                    f"{name} cannot be called without {', '.join(needed)}. Give defaults, or name the optimizer that "
                    "it should be, such as --reference adam, with whose hyperparameters it is called then."
                )
            yield "default", {}, {}
            return
        defaults = {
            key: p.default
            for key, p in inspect.signature(loops).parameters.items()
            if p.kind is p.KEYWORD_ONLY and key != "values"
        }
        pairs = self._pairs(make, defaults, name)
        mapped = {ours for group in pairs.values() for ours in group}
        for setting, hyper in SETTINGS[self.reference].items():
            if hyper.keys() - mapped or any(isinstance(x, Written) for x in hyper.values()):
                continue  # they do not have it, or take it in a form of their own
            values = defaults | hyper
            # Every value is passed: their defaults may be others.
            theirs = {key: _value(values, group) for key, group in pairs.items()}
            yield setting, {key: x for key, x in theirs.items() if x is not None}, dict(hyper)

    def _pairs(self, make: Callable[..., Any], known: Mapping[str, Any], name: str) -> dict[str, list[str]]:
        """Return which of the reference's parameters each of theirs stands for."""
        accepted = inspect.signature(make).parameters
        if not self.mapping:
            pairs = {key: [key] for key in accepted if key in known}
        else:
            pairs = {}
            for part in self.mapping.split(","):
                theirs, _, ours = part.strip().partition("=")
                pairs[theirs] = ours.split(":")
        anything = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
        for theirs, group in pairs.items():
            if theirs not in accepted and not anything:
                raise ThirdPartyError(f"{name} has no parameter {theirs!r}. It has: {', '.join(accepted)}.")
            for ours in group:
                if ours not in known:
                    raise ThirdPartyError(
                        f"The reference {self.reference} has no parameter {ours!r}. It has: {', '.join(known)}."
                    )
        if not any("learning_rate" in group for group in pairs.values()):
            raise ThirdPartyError(
                f"None of {name}'s parameters ({', '.join(accepted)}) is said to be the learning rate. Say which, such "
                "as --map lr=learning_rate."
            )
        return pairs


def options_of(backend: str) -> list[str]:
    """Return what the command line needs to know a backend, besides its name."""
    return ["--backend", _origins[backend]] if backend in _origins else []


def _is_needed(p: inspect.Parameter) -> bool:
    return p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)


def _value(values: Mapping[str, Any], group: list[str]) -> Any:
    return values[group[0]] if len(group) == 1 else tuple(values[name] for name in group)


def _maker(library: str | None, make: Callable[..., Any], theirs: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function that makes the optimizer, whatever the reference is called with."""
    if library == "torch":
        peer = peers.oracle("torch")
        assert peer is not None  # its optimizer has just been imported
        return lambda **ours: peer.Guest(make, theirs)
    return lambda **ours: make(**theirs)


def _kind(library: str | None) -> dict[str, Any]:
    """Return what else there is to say of a case of that library."""
    match library:
        case "torch":
            return {"program": lambda guest: guest, "libraries": ("torch",)}
        case "optax":
            return {"program": Eager, "libraries": ("jax",)}  # made of closures, which cannot be pickled
    return {}


def _attribute(module: str, attribute: str = "", *, named: str) -> Any:
    if "" not in sys.path:  # `python -m` looks in the current folder, the script of a command does not
        sys.path.append("")
    try:
        found = import_module(module)
    except ImportError as error:
        raise ThirdPartyError(f"{named} cannot be imported: {error}.") from error
    if not hasattr(found, attribute):
        raise ThirdPartyError(
            f"{named} is not there: the module {module} has no {attribute!r}. Expected package.module:name, "
            "torch:package.module.Class or optax:package.module.factory."
        )
    return getattr(found, attribute)


def _registered(name: str) -> str:
    module, _, attribute = name.partition(":")
    found = _attribute(module, attribute, named=name)
    backend = found() if isinstance(found, type) else found
    if not all(hasattr(backend, part) for part in ("name", "array_types", "xp")):
        raise ThirdPartyError(f"{name} is {backend!r}, expected a backend: see 'Add a library' in the documentation.")
    backends.register(backend)
    _origins[backend.name] = name
    return str(backend.name)
