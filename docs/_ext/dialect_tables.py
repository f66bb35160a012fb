"""The directive ``dialect-table``: in which switches the dialects of an optimizer differ, read from what they build.

``dialect-table rmsprop`` has a column for uniopt's `rmsprop` and for each framework's. What is in a cell is read from
the transformation that the constructor returns, so a dialect that changes, changes the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import Parameter
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from uniopt.cli.compare.calls import CONSTRUCTORS, Call
from uniopt.cli.compare.report import written
from uniopt.cli.compare.switches import ORDER, Part, counts_by_leaf, is_parts, parts, switches

RATES = ("learning_rate", "lr")

_SWITCHED_ON = {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "weight_decay_rate": 0.1}
"""Arguments that show what is not there by default."""

_DECAYS = ("add_decayed_weights", "shrink_weights", "decay_first")
_SILENT = {ORDER, *RATES, "flip_sign", "mask", "labels", "mask_compatible_extra_args", "min_scale"}
"""Switches that say nothing about the formula, and the learning rate, which has a row of its own."""


def families() -> dict[str, dict[str, Call]]:
    """Return the optimizers that torch, mlx or keras has, by uniopt's names: the call of each dialect, by dialect."""
    ours = {_plain(name): name for name in CONSTRUCTORS["uniopt"]}
    found: dict[str, dict[str, Call]] = {}
    for dialect in ("torch", "mlx", "keras"):
        for name in CONSTRUCTORS[dialect]:
            family = ours[_plain(name)]
            found.setdefault(family, {"uniopt": Call("uniopt", family, {}), **_of_optax(family)})
            found[family][dialect] = Call(dialect, name, {})
    return {name: found[name] for name in ours.values() if name in found}


def table(family: str) -> str:
    """Return the Markdown table of a family."""
    calls = families()[family]
    columns = [_Column(call) for call in calls.values()]
    default, on = (
        [_made_of(found) for found in row] for row in zip(*((x.default, x.on) for x in columns), strict=True)
    )
    rows = [
        ("", [f"`{call.dialect}.{call.name}`" for call in calls.values()]),
        ("parts", default),
        *([("with momentum and decay", on)] if on != default else []),
        *_differing("learning rate", [x.rate() for x in columns]),
        *_differing("steps are counted", ["for each leaf" if x.by_leaf else "for all leaves" for x in columns]),
    ]
    for name in dict.fromkeys(name for x in columns for name in x.cells()):
        rows += _differing(f"`{name}`", [x.cells().get(name, "") for x in columns])
    head, *others = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join([head, "|---" * (len(columns) + 1) + "|", *others])


class _Column:
    """What one dialect's optimizer is made of, as it is by default and with more of it switched on."""

    def __init__(self, call: Call) -> None:
        self._parameters = call.parameters()
        required = [name for name, p in self._parameters.items() if p.default is Parameter.empty]
        plain = call.but(**dict.fromkeys(required, 1.0))
        on = plain.but(**{name: x for name, x in _SWITCHED_ON.items() if name in self._parameters})
        self.by_leaf = counts_by_leaf(plain.transformation())
        self.default, self.on = (parts(x.transformation()) for x in (plain, on))

    def rate(self) -> str:
        """Return the default of the learning rate."""
        default = next(p.default for name, p in self._parameters.items() if name in RATES)
        return "no default" if default is Parameter.empty else f"`{default!r}`"

    def cells(self) -> dict[str, str]:
        """Return the switches by the part that they belong to, with their values by default."""
        found: dict[str, str] = {}
        for is_default, x in ((True, self.default), (False, self.on)):
            for name, value in switches(x).items():
                part, _, switch = name.rpartition(".")
                part = part.rpartition(".")[2]
                if part in _DECAYS and switch == "weight_decay":
                    found.setdefault(switch, f"`{written(value) if is_default else 0.0}`")
                elif part not in _DECAYS and switch not in _SILENT and (is_default or switch not in _SWITCHED_ON):
                    found.setdefault(f"{part}.{switch}", f"`{written(value)}`")
        return found


class DialectTable(SphinxDirective):
    """Show the table of a family."""

    required_arguments = 1

    def run(self) -> list[Any]:
        return self.parse_text_to_nodes(table(self.arguments[0]))


def _of_optax(family: str) -> dict[str, Call]:
    """Return the call of optax's optimizer where it is another one than uniopt's."""
    theirs = CONSTRUCTORS["optax"].get(family, CONSTRUCTORS["uniopt"][family])
    return {} if theirs is CONSTRUCTORS["uniopt"][family] else {"optax": Call("optax", family, {})}


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _differing(name: str, cells: list[str]) -> list[tuple[str, list[str]]]:
    """Return the row, or none if all that have something have the same."""
    return [(name, cells)] if len({cell for cell in cells if cell}) > 1 else []


def _made_of(found: Iterable[Part]) -> str:
    """Return parts in their order, with those that are inside of them."""

    def inside(x: Any) -> list[str]:
        if is_parts(x):
            return [_made_of(x)]
        return [f"{label}: {y}" for label, held in x.items() for y in inside(held)] if isinstance(x, dict) else []

    texts = []
    for part in found:
        held = [text for x in part.switches.values() for text in inside(x)]
        texts.append(f"`{part.name}`" + (f" of ({'; '.join(held)})" if held else ""))
    return ", ".join(texts)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("dialect-table", DialectTable)
    return {"parallel_read_safe": True}
