"""What a transformation is made of: its parts in their order, and the switches of each, read from its stages."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from uniopt.chain import Chain, NamedChain
from uniopt.leafwise import Leafwise
from uniopt.transformation import GradientTransformation, Stage, stage_of
from uniopt.transforms.count_by_leaf import CountByLeaf

Switches = dict[str, Any]

ORDER = "order"
"""The switch that is the order of the parts."""

# What does nothing with these switches, whatever its others are.
_NOTHING: dict[str, Switches] = {
    "identity": {},
    "scale": {"step_size": 1.0},
    "add_decayed_weights": {"weight_decay": 0.0},
    "shrink_weights": {"weight_decay": 0.0},
    "decay_first": {"weight_decay": 0.0},
    "trace": {"decay": 0.0, "dampening": 0.0},
}


class Part(NamedTuple):
    """A part of a transformation.

    Attributes
    ----------
    name
        What makes it, such as ``scale_by_adam``.
    switches
        Its hyperparameters; transformations that are inside of it are tuples of parts.
    reads_params
        Whether what it does may depend on the parameters.
    """

    name: str
    switches: Switches
    reads_params: bool


def parts(tx: GradientTransformation) -> list[Part]:
    """Return what a transformation is made of, in order, without what does nothing.

    What says how steps are counted is no part: it makes a difference only where gradients are ``None``.
    """
    return _parts(stage_of(tx))


def counts_by_leaf(tx: GradientTransformation) -> bool:
    """Return whether the steps of each leaf are counted by themselves."""
    return isinstance(stage_of(tx), CountByLeaf)


def switches(found: list[Part]) -> Switches:
    """Return all switches by dotted names; those of a part that is there twice have its number in them."""
    flat: Switches = {ORDER: tuple(part.name for part in found)}
    names: list[str] = []
    for part in found:
        names.append(part.name)
        again = names.count(part.name)
        prefix = part.name if again == 1 else f"{part.name}[{again}]"
        for name, x in part.switches.items():
            flat |= _flat(f"{prefix}.{name}", x)
    return flat


def differing(first: Switches, second: Switches) -> dict[str, tuple[Any, Any]]:
    """Return the switches that are not the same in both, with both values; `MISSING` where one has no such part."""
    names = dict.fromkeys([*first, *second])
    pairs = {name: (first.get(name, MISSING), second.get(name, MISSING)) for name in names}
    return {name: (a, b) for name, (a, b) in pairs.items() if not _same(a, b)}


def is_parts(x: Any) -> bool:
    """Return whether the value of a switch is a transformation, as a tuple of its parts."""
    return isinstance(x, tuple) and bool(x) and all(isinstance(part, Part) for part in x)


class _Missing:
    def __repr__(self) -> str:
        return "-"


MISSING: Any = _Missing()
"""In place of a switch that one of two transformations does not have."""


def _parts(stage: Stage) -> list[Part]:
    match stage:
        case CountByLeaf():
            return _parts(stage.inner)
        case Chain():
            return [part for inner in stage.stages for part in _parts(inner)]
        case NamedChain():
            return [part for _, inner in stage.stages for part in _parts(inner)]
        case Leafwise():
            found = Part(stage.name, dict(stage.hyper), "p" in stage.wants)
        case _:
            fields = [field.name for field in dataclasses.fields(stage) if field.init]  # type: ignore[arg-type]  # all stages are dataclasses
            found = Part(repr(stage).partition("(")[0], {name: _inner(getattr(stage, name)) for name in fields}, True)
    if found.name in _NOTHING and all(_same(found.switches[name], x) for name, x in _NOTHING[found.name].items()):
        return list(found.switches.get("inner", ()))
    return [found]


def _inner(x: Any) -> Any:
    if isinstance(x, Stage):
        return tuple(_parts(x))
    return {key: _inner(y) for key, y in x.items()} if isinstance(x, dict) else x


def _flat(name: str, x: Any) -> Switches:
    if isinstance(x, dict):
        return {inner: y for key, z in x.items() for inner, y in _flat(f"{name}.{key}", z).items()}
    if is_parts(x):
        return {f"{name}.{inner}": y for inner, y in switches(list(x)).items()}
    return {name: x}


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
