"""The required list: every cell that a whole run has to plan, in one versioned file.

A case, a library, a data type or a mode that drops out of the plan would leave a run as green as before. So the plan is
compared with ``required.toml`` beside this file. ``uniopt conformance required`` writes that anew, under the next
version, for a change that is meant.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from uniopt.conformance.cells import Cell, Selection

LIST = Path(__file__).with_name("required.toml")
_HEAD = """\
# The cells that a whole run plans, by the cases that are run alike: see required.py.
# Written by `uniopt conformance required`.
"""


@dataclass(frozen=True)
class Required:
    """A version of the list, and the cells on it: by case, ``library/dtype/mode`` each, with ``+special``."""

    version: int
    cells: Mapping[str, frozenset[str]]

    @classmethod
    def load(cls) -> Required:
        """Return the list as it is in the file."""
        document = tomllib.loads(LIST.read_text(encoding="utf-8"))
        cells = {
            f"{setting}/{problem}": frozenset(group["where"])
            for group in document["group"]
            for setting, problems in group["cases"].items()
            for problem in problems.split()
        }
        return cls(document["version"], cells)

    def of(self, selection: Selection) -> Required:
        """Return the part of the list that is in the shard that is asked for."""
        return Required(self.version, {case: where for case, where in self.cells.items() if selection.has(case)})

    def missing(self, planned: Iterable[Cell]) -> list[str]:
        """Return the names of the required cells that are not planned, without their devices."""
        found = by_case(planned)
        return [
            f"{case}/{where}"
            for case, required in self.cells.items()
            for where in sorted(required - found.get(case, frozenset()))
        ]


def by_case(planned: Iterable[Cell]) -> dict[str, frozenset[str]]:
    """Return where each case is run: on which libraries, in which data types and modes."""
    found: dict[str, set[str]] = defaultdict(set)
    for cell in planned:
        place = f"{cell.backend}+{cell.place.special}" if cell.place.special else cell.backend
        found[cell.case.name].add(f"{place}/{cell.dtype}/{cell.mode}")
    return {case: frozenset(where) for case, where in found.items()}


def write(planned: Iterable[Cell]) -> str:
    """Write the list of the cells that are planned, and return what has changed."""
    cells = by_case(planned)
    before = Required.load() if LIST.exists() else Required(0, {})
    if cells == before.cells:
        return f"The required list is still version {before.version}: nothing has changed."
    LIST.write_text(_toml(Required(before.version + 1, cells)), encoding="utf-8")
    old, new = (
        {f"{case}/{place}" for case, where in side.items() for place in where} for side in (before.cells, cells)
    )
    return f"The required list is now version {before.version + 1}: {len(new - old)} cells more, {len(old - new)} less."


def _toml(required: Required) -> str:
    groups: dict[frozenset[str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case, where in required.cells.items():
        setting, _, problem = case.rpartition("/")
        groups[where][setting].append(problem)
    lines = [_HEAD + f"version = {required.version}"]
    for where, cases in sorted(groups.items(), key=lambda group: sorted(group[0])):
        lines += ["", "[[group]]", "where = [", *(f'  "{place}",' for place in sorted(where)), "]", "[group.cases]"]
        lines += [f'"{setting}" = "{" ".join(sorted(problems))}"' for setting, problems in sorted(cases.items())]
    return "\n".join([*lines, ""])
