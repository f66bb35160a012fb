"""A turn between two passes, for a device: numbers are computed by kernels of one element, the rest by the library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from uniopt.backends.fusion.cuda_arithmetic import TRANSCENDENTAL
from uniopt.backends.fusion.library import Calls
from uniopt.backends.fusion.operations import FLOATS, STORED, is_fusible
from uniopt.backends.fusion.schedule import Group, Turn
from uniopt.backends.fusion.segment import Loop, Wave
from uniopt.backends.fusion.symbol import Symbol, symbols_in


def cut(
    turn: Turn,
    reduced: Collection[Symbol],
    part_of: Mapping[Symbol, int],
    gathered: Mapping[Symbol, Collection[Symbol]],
) -> list[Wave | Calls]:
    """Return the turn as waves of loops over one element, and calls of the library between them.

    Parameters
    ----------
    turn
        What is to be computed.
    reduced
        The symbols that loops have computed as reductions.
    part_of
        For inputs that are written to, and numbers that are computed of one leaf, the position of the gradient without
        which they are not.
    gathered
        For operations that gather numbers of several leaves, these.
    """
    apart = set().union(*gathered.values())
    own = part_of if gathered else {}  # a leaf's own numbers are in another loop than what is gathered, to be skipped
    levels: dict[Symbol, int] = {}  # numbers at even ones, calls at odd ones
    for x in turn.symbols:
        if x not in reduced and not is_constant(x):
            first = max(
                (levels[y] + 2 * (own.get(y) != own.get(x)) for y in symbols_in(x.args) if y in levels), default=0
            )
            levels[x] = first + (first % 2 if _is_number(x) else (first + 1) % 2)
    found: list[Wave | Calls] = []
    for level in range(max(levels.values(), default=-1) + 1):
        symbols = [x for x, n in levels.items() if n == level]
        if level % 2:
            found.append(Calls(symbols, []))
        elif symbols:
            found.append([Loop(_numbers(some), part) for some, part in _loops(symbols, apart, part_of)])
    # Copies come last, in one loop for each part: it reads all that it needs before it writes.
    copies = defaultdict(list)
    calls = []
    for out in turn.copies:
        part = part_of.get(out.target, -1)
        if out.symbol.shape == () and out.symbol.dtype in STORED:
            copies[part].append(out)
        elif 0 not in out.symbol.shape:
            calls.append((out, part))
    if calls:  # before the numbers that arrays are filled with are overwritten
        found.append(Calls([], calls))
    last = found[-1] if found and not isinstance(found[-1], Calls) else []
    if len(last) != 1 or copies.keys() != {last[0].part}:  # others may read what is written to
        last = [Loop(Group(()), part) for part in copies]
        found += [last] if last else []
    for loop in last:
        for out in copies.get(loop.part, []):
            loop.group.stores.append((out.symbol, out.target))
            if out.symbol not in loop.group.computed and not is_constant(out.symbol):
                loop.group.stored_in[out.symbol] = out.symbol
    return found


def keep_numbers(steps: Iterable[Wave | Calls]) -> None:
    """Give those numbers memory that anything but their own loop reads."""
    steps = list(steps)
    read: set[Symbol] = set()
    for step in steps:
        if isinstance(step, Calls):
            read.update(*(symbols_in(x.args) for x in step.symbols), (out.symbol for out, _ in step.copies))
            continue
        for loop in step:
            read.update(loop.group.stored_in)
            if loop.group.shape != ():
                read.update(*(symbols_in(x.args) for x in (*loop.group.computed, *loop.group.reductions)))
    for step in steps:
        for loop in [] if isinstance(step, Calls) else step:
            if loop.group.shape == ():
                loop.group.stores += [(x, x) for x in sorted(loop.group.computed & read, key=lambda x: x.index)]


def is_constant(x: Symbol) -> bool:
    """Return whether a symbol is a number that is known already."""
    return x.op == "constant" and x.shape == ()


def _is_number(x: Symbol) -> bool:
    """Return whether a kernel can compute a symbol as a number."""
    args = list(symbols_in(x.args))
    if x.shape != () or any(y.shape != () or y.dtype not in STORED for y in args):
        return False
    if x.op == "astype":
        return x.dtype in STORED
    return is_fusible(x) or (x.op in TRANSCENDENTAL and {y.dtype for y in args} <= {*FLOATS})


def _components(symbols: Iterable[Symbol]) -> list[list[Symbol]]:
    """Return symbols in lists that do not depend on each other: the numbers of different leaves share a kernel."""
    home: dict[Symbol, list[Symbol]] = {}
    for x in symbols:
        near = list({id(home[y]): home[y] for y in symbols_in(x.args) if y in home}.values())
        largest = max(near, key=len, default=[])
        for other in near:
            if other is not largest:
                largest += other
                home |= dict.fromkeys(other, largest)
        largest.append(x)
        home[x] = largest
    return list({id(component): component for component in home.values()}.values())


def _loops(
    symbols: Iterable[Symbol], apart: set[Symbol], part_of: Mapping[Symbol, int]
) -> list[tuple[list[Symbol], int]]:
    """Return what each loop of a wave computes, and the gradient without which it does not.

    Numbers of different leaves are in loops of one form, which share a launch. All else of a part is in one loop.
    """
    forms: dict[Any, list[list[Symbol]]] = defaultdict(list)
    for component in _components(symbols):
        part = _only(component, apart, part_of)
        forms[part, *((x.op, x.dtype) for x in component)].append(component)
    alone: dict[int, list[Symbol]] = defaultdict(list)
    found = []
    for (part, *_), components in forms.items():
        if len(components) == 1:
            alone[part] += components[0]
        else:
            found += [(component, part) for component in components]
    return found + [(component, part) for part, component in alone.items()]


def _only(component: Collection[Symbol], apart: set[Symbol], part_of: Mapping[Symbol, int]) -> int:
    """Return the position of the gradient without which nothing of this is gathered; -1 for none, or several."""
    parts = {part_of.get(x, -1) for x in component} if not apart.isdisjoint(component) else {-1}
    return parts.pop() if len(parts) == 1 else -1


def _numbers(component: list[Symbol]) -> Group:
    """Return the loop over one element that computes numbers."""
    computed = set(component)
    read = {y for x in component for y in symbols_in(x.args) if y not in computed and not is_constant(y)}
    return Group((), computed=computed, stored_in={y: y for y in read})
