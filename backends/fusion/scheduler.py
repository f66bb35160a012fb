"""When each operation of a recording runs: in which pass over memory, or on the host between two passes.

Time is counted so that passes are odd and the host's turns between them even. A loop over a leaf computes everything
that it can in one pass; what needs the result of a reduction waits for the next. A later pass computes again what it
needs of an earlier one, unless that has been stored: arithmetic is free next to memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from uniopt.backends.fusion.counted import is_counted
from uniopt.backends.fusion.gathered import Gathered
from uniopt.backends.fusion.operations import STORED, is_fusible
from uniopt.backends.fusion.recording import Recording
from uniopt.backends.fusion.schedule import REDUCTIONS, VIEWS, Group, Output, Schedule, Turn, root
from uniopt.backends.fusion.symbol import NotRecordable, Symbol, symbols_in, users


def schedule(
    recording: Recording, outputs: list[Output], asked: Sequence[Symbol] = (), gathered: Gathered | None = None
) -> Schedule:
    """Return in which order the outputs of a recording are computed, and 0-d symbols whose values the host is asked.

    With `gathered`, no loop does what belongs to several gradients: arrays at which their parts meet have memory of
    their own, and no loop computes them that also reads them.
    """
    return _Scheduler(recording, [out for out in outputs if out.symbol is not out.target], asked, gathered).result()


class _Scheduler:
    def __init__(
        self, recording: Recording, outputs: list[Output], asked: Sequence[Symbol], gathered: Gathered | None
    ) -> None:
        self.outputs = outputs
        self.gathered = gathered
        self.apart = set() if gathered is None else gathered.apart
        self.symbols = _needed(recording, [*(out.symbol for out in outputs), *asked])
        self.times: dict[Symbol, int] = {}
        for symbol in self.symbols:
            self.times[symbol] = self._time(symbol)
        self.uses = users(self.symbols)
        # A loop's symbol gets memory of its own if anything but a loop of its shape reads it.
        self.materialized = {
            x
            for x in self.symbols
            if self.in_loop(x) and (x in self.apart or any(not (self._in_loop_with(use, x)) for use in self.uses[x]))
        }
        self.outputs_of: dict[Symbol, list[Output]] = defaultdict(list)
        for out in outputs:
            self.outputs_of[out.symbol].append(out)
        self.written = {out: self._first_writing(out) for out in outputs}
        self._longest = self._last() + 4 * len(outputs)  # passes; more it takes only where outputs wait in a circle

    # Kinds of symbols

    def in_loop(self, symbol: Symbol) -> bool:
        """Return whether a kernel's loop computes the symbol element by element."""
        return symbol.shape != () and 0 not in symbol.shape and is_fusible(symbol)

    def reduces(self, symbol: Symbol) -> bool:
        """Return whether a kernel computes the symbol as a reduction."""
        if symbol.op not in REDUCTIONS or symbol.dtype not in ("float32", "float64"):
            return False
        x = symbol.args[0]
        return x.shape != () and 0 not in x.shape and x.dtype == symbol.dtype

    def _in_loop_with(self, use: Symbol, x: Symbol) -> bool:
        return (self.in_loop(use) and use.shape == x.shape) or self.reduces(use)

    # Times

    def _time(self, symbol: Symbol) -> int:
        if symbol.op in ("input", "constant"):
            return 0
        args = list(symbols_in(symbol.args))
        looped = self.in_loop(symbol)
        if not looped and not self.reduces(symbol):
            return max((self.times[x] + self.times[x] % 2 for x in args), default=0)
        return max([1, *(self._ready(x, symbol.args[0].shape if not looped else symbol.shape) for x in args)])

    def _ready(self, x: Symbol, shape: tuple[int, ...]) -> int:
        """Return the first pass that can read `x` in a loop over `shape`."""
        time = self.times[x]
        if time % 2 == 0:
            return time + 1
        return time if self.in_loop(x) and x.shape == shape and x not in self.apart else time + 2

    def _first_writing(self, out: Output) -> int:
        time = self.times[out.symbol]
        if self.in_loop(out.symbol):
            return time
        if _can_store(out.symbol):  # an input or a constant: a loop copies it
            return max(time + time % 2, 0) + 1
        return time + time % 2

    # Passes

    def result(self) -> Schedule:
        while True:
            groups = {time: self._groups(time) for time in range(1, self._last() + 1, 2)}
            if not self._delay(groups):
                break
            if self._last() > self._longest:
                self._copy_what_waits_for_each_other()
        turns = [Turn() for _ in range(self._last() // 2 + 2)]
        for symbol in self.symbols:
            in_kernels = symbol.op == "constant" or is_counted(symbol)
            if symbol.op == "input" or self.in_loop(symbol) or (in_kernels and not self._on_host(symbol)):
                continue
            turns[(self.times[symbol] + 1) // 2].symbols.append(symbol)
        for out, time in self.written.items():
            if time % 2 == 0:
                turns[time // 2].copies.append(out)
        aliases = {out.symbol: out.target for out, time in self.written.items() if time == self.times[out.symbol]}
        aliases = {x: y for x, y in aliases.items() if x in self.materialized and x not in self.apart}
        return Schedule(turns, list(groups.values()), aliases, self.outputs, self.symbols)

    def _on_host(self, known: Symbol) -> bool:
        """Return whether anything but kernels reads what kernels know by themselves."""
        return any(not self._in_loop_with(use, use) for use in self.uses[known]) or any(
            out.symbol is known and self.written[out] % 2 == 0 for out in self.outputs
        )

    def _last(self) -> int:
        return max([0, *self.times.values(), *self.written.values()])

    def _groups(self, time: int) -> list[Group]:
        """Return the loops of a pass: wanted stores and reductions, joined where they share memory."""
        groups: list[Group] = []
        owner: dict[tuple[Symbol, int], Group] = {}  # by the part that the group belongs to
        stored = {out.symbol for out, at in self.written.items() if at == self.times[out.symbol] == time}
        wanted: list[tuple[Symbol, Symbol | None, tuple[int, ...]]] = [
            (out.symbol, out.target, out.symbol.shape) for out, at in self.written.items() if at == time
        ]
        wanted += [
            (x, x, x.shape) for x in self.materialized if self.times[x] == time and (x not in stored or x in self.apart)
        ]
        wanted += [(x, None, x.args[0].shape) for x in self.symbols if self.times[x] == time and self.reduces(x)]
        wanted.sort(key=lambda want: (want[0].index, want[1] is None))
        for what, memory, shape in wanted:
            group = Group(shape)
            source = what if memory is not None else what.args[0]
            self._close(group, source, time)
            if memory is None:
                group.reductions.append(what)
            else:
                group.stores.append((what, memory))
            touched = {x for x in (*group.computed, *group.stored_in) if x.shape == shape}
            if memory is not None:
                touched.add(memory)
            part = 0 if self.gathered is None else self.gathered.of(group)
            near = [owner[x, part] for x in touched if (x, part) in owner and owner[x, part].shape == shape]
            for other in {id(other): other for other in near}.values():
                groups.remove(other)
                group = _joined(other, group)
            groups.append(group)
            for x in (*group.computed, *group.stored_in, *(memory for _, memory in group.stores)):
                if x.shape == shape:
                    owner[x, part] = group
        return groups

    def _close(self, group: Group, source: Symbol, time: int) -> None:
        """Add to a group what it takes to compute `source` in the pass at `time`."""
        todo = [source]
        while todo:
            x = todo.pop()
            if x in group.computed or x in group.stored_in or x.op == "constant" or x.shape == ():
                continue
            memory = self._memory(x, time)
            if memory is not None:
                group.stored_in[x] = memory
                continue
            group.computed.add(x)
            todo += symbols_in(x.args)

    def _memory(self, x: Symbol, time: int) -> Symbol | None:
        """Return the input or symbol whose memory holds the value of `x` before the pass at `time`."""
        if not self.in_loop(x):
            return x
        for out in () if x in self.apart else self.outputs_of[x]:
            if self.written[out] < time and self.written[out] % 2:
                return out.target
        return x if x in self.materialized and self.times[x] < time else None

    # An input's memory may be overwritten only when nobody will read the old value any more.

    def _delay(self, groups: dict[int, list[Group]]) -> bool:
        """Postpone the writing of outputs whose targets are still read; return whether any was."""
        readers = self._readers(groups)
        changed = False
        for out, written in list(self.written.items()):
            last = written
            for time, group in readers[out.target]:
                if group is None or time > written:
                    last = max(last, time)
                elif time == written and not self._reads_where_it_writes(group, out.target):
                    last = max(last, time + 2)
            if last > written:
                loops = self.in_loop(out.symbol) or _can_store(out.symbol)
                self.written[out] = last if last % 2 == (1 if loops else 0) else last + 1
                changed = True
        return changed

    def _copy_what_waits_for_each_other(self) -> None:
        """Give memory of their own to outputs that wait for each other's targets to be read."""
        late = {out.symbol for out, time in self.written.items() if self.in_loop(out.symbol)} - self.materialized
        if not late:
            raise NotRecordable("arrays that take each other's values by way of views")
        self.materialized |= late
        self.written = {out: self._first_writing(out) for out in self.outputs}

    def _readers(self, groups: dict[int, list[Group]]) -> dict[Symbol, list[tuple[int, Group | None]]]:
        """Return, for each input, when and by which loop (None: by the host) its old value is read."""
        readers: dict[Symbol, list[tuple[int, Group | None]]] = defaultdict(list)
        for time, loops in groups.items():
            for group in loops:
                for x, memory in group.stored_in.items():
                    if memory is x:
                        readers[root(x)].append((time, group))
                for x in symbols_in(arg for symbol in (*group.computed, *group.reductions) for arg in symbol.args):
                    if x.shape == ():
                        readers[root(x)].append((time, group))
        for symbol in self.symbols:
            if symbol.op not in ("input", *VIEWS) and not self.in_loop(symbol) and not self.reduces(symbol):
                for x in symbols_in(symbol.args):
                    readers[root(x)].append((self.times[symbol], None))
        for out, written in self.written.items():
            if written % 2 == 0:
                readers[root(out.symbol)].append((written, None))
        return readers

    def _reads_where_it_writes(self, group: Group, target: Symbol) -> bool:
        """Return whether a loop that reads an input also writes it, and reads each element just before."""
        return any(memory is target for _, memory in group.stores) and all(
            x is target or root(x) is not target for x in group.stored_in
        )


def _needed(recording: Recording, wanted: Iterable[Symbol]) -> list[Symbol]:
    """Return the symbols that others depend on, and those, arguments first."""
    needed: set[Symbol] = set()
    todo = list(wanted)
    while todo:
        x = todo.pop()
        if x not in needed:
            needed.add(x)
            todo += symbols_in(x.args)
    return [x for x in recording.symbols if x in needed]


def _can_store(x: Symbol) -> bool:
    return x.op in ("input", "constant") and x.shape != () and 0 not in x.shape and x.dtype in STORED


def _joined(first: Group, second: Group) -> Group:
    return Group(
        first.shape,
        first.stores + second.stores,
        first.reductions + second.reductions,
        first.computed | second.computed,
        first.stored_in | second.stored_in,
    )
