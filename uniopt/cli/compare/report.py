"""What a comparison has found, in words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from uniopt.cli.compare.calls import Call
from uniopt.cli.compare.comparison import Comparison, Differing, Pair
from uniopt.cli.compare.runs import Apart
from uniopt.cli.compare.switches import MISSING, ORDER

_WIDTH = 110
_HEADINGS = ("problem", "most apart, in ulp", "as a share of the distance moved", "apart from")


def text(found: Comparison) -> str:
    """Return all that was found."""
    first, second, nearest = found.both.wanted, found.both.call, found.nearest
    paragraphs = [f"first   {first}\nsecond  {second}\n{found.where}", _distances(found.both.apart)]
    if nearest is None:
        paragraphs.append("\n".join(["The two take the same steps, but for rounding.", *_conditions(found.both)]))
        return "\n\n".join([*paragraphs, *_without_effect(found.switches, "second")])
    if found.switches:
        paragraphs.append(_switches(found.switches, "second"))
    if nearest.confirmed:
        paragraphs += [_equal(nearest), *_without_effect(found.obstacles, "nearest")]
        return "\n\n".join(paragraphs)
    if not found.obstacles:
        lines = [
            "The switches of the first are those of",
            f"  {nearest.call}",
            "but the two do not take the same steps:",
        ]
        return "\n\n".join([*paragraphs, "\n".join(lines), _distances(nearest.apart)])
    paragraphs += [
        f"No call of {second.dialect} equals the first. The nearest one is\n  {nearest.call}\nwhich differs in",
        _switches(found.obstacles, "nearest"),
    ]
    if (pair := found.without_epsilon) is not None and pair.confirmed:
        paragraphs.append(f"With an epsilon of 0 there is one:\n  {pair.wanted}\n  {pair.call}")
    return "\n\n".join([*paragraphs, f"{_path(first)} runs on every library."])


def written(x: Any) -> str:
    """Return the value of a switch as text."""
    if isinstance(x, tuple) and x and all(isinstance(name, str) for name in x):
        return ", ".join(x)
    if isinstance(x, tuple) and len(x) > 1 and all(y == x[0] for y in x):
        return f"{len(x)} times {x[0]!r}"
    return re.sub(r"<function _?(\w+) at 0x\w+>", r"\1", repr(x))


def _distances(found: Sequence[Apart]) -> str:
    rows = [(x.problem, f"{x.ulp:.3g}", f"{x.share:.2g}", f"step {x.step}" if x.step else "-") for x in found]
    return _aligned([_HEADINGS, *rows])


def _switches(found: Differing, other: str) -> str:
    """Return the table of the switches that differ; a part that only one of the two has is one row at most."""
    orders = found.get(ORDER, ((), ()))
    alone = [dict.fromkeys(x for x in mine if x not in theirs) for mine, theirs in (orders, orders[::-1])]
    rows = [
        (_named(name), *map(written, pair))
        for name, pair in found.items()
        if name.partition(".")[0] not in {**alone[0], **alone[1]} and (MISSING not in pair or name.endswith(ORDER))
    ]
    rows += [(part, _held(part, found, 0), "-") for part in alone[0]]
    rows += [(part, "-", _held(part, found, 1)) for part in alone[1]]
    return _aligned([("switch", "first", other), *rows])


def _held(part: str, found: Differing, side: int) -> str:
    """Return the switches of a part, unless it is made of others."""
    held = {name.removeprefix(f"{part}."): pair[side] for name, pair in found.items() if name.startswith(f"{part}.")}
    if any("." in name for name in held):
        return "there"
    return ", ".join(f"{name}={written(x)}" for name, x in held.items()) or "there"


def _path(call: Call) -> str:
    return str(call) if call.dialect == "uniopt" else f"uniopt.dialects.{call}"


def _equal(found: Pair) -> str:
    most = max(x.ulp for x in found.apart if x.step is None)
    apart = f"at most {most:.3g} ulp apart" if most else "equal in every bit"
    lines = ["The second equals the first as", f"  {found.call}", f"which a run confirms: {apart}."]
    return "\n".join([*lines, *_conditions(found)])


def _without_effect(found: Differing, other: str) -> list[str]:
    return ["These switches differ, without effect here.\n\n" + _switches(found, other)] if found else []


def _conditions(found: Pair) -> list[str]:
    return [f"They would differ where {condition}." for condition in found.conditions()]


def _named(switch: str) -> str:
    return "parts, in order" if switch == ORDER else switch.replace(f".{ORDER}", ", parts in order")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, or a list of its rows where these are too long for one."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) <= _WIDTH:
        return "\n".join("  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    heads, *others = rows
    margin = max(map(len, heads[1:])) + 4
    lines = []
    for row in others:
        lines.append(row[0])
        for head, cell in zip(heads[1:], row[1:], strict=True):
            lines += textwrap.wrap(
                cell, _WIDTH, initial_indent=f"  {head}".ljust(margin), subsequent_indent=" " * margin
            )
    return "\n".join(lines)
