"""A loop that stores and reduces, as loops that do one thing each."""

from __future__ import annotations

from collections.abc import Iterator

from uniopt.backends.fusion.operations import HALVES
from uniopt.backends.fusion.schedule import Group
from uniopt.backends.fusion.symbol import Symbol, symbols_in


def split(group: Group) -> Iterator[Group]:
    """Yield the group's reductions over the same axes, and what it stores, as groups of their own."""
    axes = dict.fromkeys(dict(symbol.keywords)["axis"] for symbol in group.reductions)
    for some in axes:
        yield _part(group, [], [x for x in group.reductions if dict(x.keywords)["axis"] == some])
    if group.stores:
        yield _part(group, group.stores, [])


def _part(group: Group, stores: list[tuple[Symbol, Symbol]], reductions: list[Symbol]) -> Group:
    """Return what of a group it takes to store and to reduce that."""
    part = Group(group.shape, list(stores), reductions)
    todo = [what for what, _ in stores] + [x.args[0] for x in reductions]
    while todo:
        x = todo.pop()
        if x in group.stored_in:
            part.stored_in[x] = group.stored_in[x]
        elif x in group.computed:
            if x not in part.computed:
                part.computed.add(x)
                todo += symbols_in(x.args)
        elif x.shape == () and x.dtype in HALVES and x.op != "constant":
            part.stored_in[x] = x  # arguments are of no such dtype
    return part
