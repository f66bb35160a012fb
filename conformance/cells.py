"""Cells: a case on a backend, a device, a data type and a mode; and the plan of those to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from zlib import crc32

from uniopt.backends import Backend
from uniopt.conformance import peers
from uniopt.conformance.cases import Case
from uniopt.conformance.places import Place, places

from uniopt import backends

DTYPES = ("float64", "float32", "bfloat16", "float16", "complex64")
MODES = ("eager", "traced", "compiled", "vmap", "scan", "sharded")
ORACLES = ("reference", "numpy", *peers.ORACLES)

# torch.compile takes half a minute a case, so torch is traced when that is asked for. On JAX and MLX a compiled step is
# the update, traced.
_BY_DEFAULT = {
    "numpy": ["eager", "compiled"],
    "cupy": ["eager", "compiled"],
    "torch": ["eager", "compiled", "vmap"],
    "jax": ["eager", "traced", "vmap", "scan", "sharded"],
    "mlx": ["eager", "traced"],
}
_ONE_EACH = (("float64", "eager"), ("float32", "traced"), ("float32", "compiled"), ("bfloat16", "eager"))
_ONCE = {"vmap": "float64", "scan": "float32", "sharded": "float32"}  # in one data type, unless others are asked for
_SPECIALLY = ("eager", "compiled")  # the modes of personalities that are not asked for by name
_SLOW = ("dask", "jax")  # a millisecond for each operation, or a compilation for each shape


@dataclass(frozen=True, eq=False)
class Cell:
    """A case on a backend, a device, a data type and a mode.

    Attributes
    ----------
    case
        What is tested, its hyperparameters and the problem.
    backend
        The library's name.
    place
        The device and the way in which the library is used.
    dtype, mode
        The data type of the parameters, and ``"eager"``, ``"traced"`` (the update, by the library's own compiler),
        ``"compiled"`` (`uniopt.compile`), ``"vmap"`` (a batch of three problems at once), ``"scan"`` (all steps in the
        library's own loop) or ``"sharded"`` (arrays that several devices share).
    unavailable
        Why the library, or the mode, cannot run here, or the empty string.
    """

    case: Case
    backend: str
    place: Place
    dtype: str
    mode: str
    unavailable: str = ""

    @property
    def device(self) -> Any:
        """Return the device, or None where the library cannot run."""
        return self.place.device

    @property
    def device_name(self) -> str:
        """Return what the device is called, with the personality."""
        return self.place.name

    @property
    def personality(self) -> str:
        """Return the way in which the library is used; empty for the usual one."""
        return self.place.personality

    @property
    def terms(self) -> tuple[str, ...]:
        """Return what the table of tolerances asks for: optimizer, setting, problem, library, device, dtype, mode."""
        case = self.case
        return case.optimizer, case.setting, case.problem.name, self.backend, self.device_name, self.dtype, self.mode

    @property
    def name(self) -> str:
        """Return ``optimizer/setting/problem/backend/device/dtype/mode``, which selects this cell alone."""
        return f"{self.case.name}/{self.backend}/{self.device_name}/{self.dtype}/{self.mode}"


@dataclass(frozen=True)
class Selection:
    """Which cells are asked for; an empty field leaves the choice to the suite.

    Attributes
    ----------
    cells
        Patterns of cell names; one that is a whole name runs that cell.
    backends, devices, dtypes, modes, optimizers
        Names; those of optimizers may be of transformations, schedules and dialects, such as ``torch.AdamW``, too.
    against
        The oracles to compare with.
    quick
        Only the brief problem, and without peers unless they are named. Default settings, each data type in one mode:
        on slow libraries, and for transformations and schedules.
    shards
        Pairs (k, n): the cases fall into n parts, and only part k is run, counted from 0; of this, the next pair's.
    """

    cells: Sequence[str] = ()
    backends: Sequence[str] = ()
    devices: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    modes: Sequence[str] = ()
    optimizers: Sequence[str] = ()
    against: Sequence[str] = ()
    quick: bool = False
    shards: Sequence[tuple[int, int]] = ()

    def is_part(self) -> bool:
        """Return whether it asks for other cells than the suite would choose, shards aside."""
        asked = (self.cells, self.backends, self.devices, self.dtypes, self.modes, self.optimizers)
        return self.quick or any(asked)

    def has(self, case: str) -> bool:
        """Return whether a case is in the shard that is asked for. All cells of a case are in one, for its oracles."""
        number = crc32(case.encode())
        for k, n in self.shards:
            number, remainder = divmod(number, n)
            if remainder != k:
                return False
        return True

    def oracles(self) -> Sequence[str]:
        """Return the oracles to compare with."""
        return self.against or (("reference", "numpy") if self.quick else ORACLES)

    def named_backends(self) -> list[str]:
        """Return the backends that are asked for by name, as an option or within the name of a cell."""
        return list(self.backends) or [n for n in backends.names() if any(f"/{n}/" in cell for cell in self.cells)]


def plan(cases: Sequence[Case], selection: Selection) -> Iterator[Cell]:
    """Yield the selected cells, backend by backend."""
    chosen = [case for case in cases if selection.has(case.name)]
    for name in selection.named_backends() or backends.names():
        for cell in _of_backend(name, chosen, selection):
            if not selection.cells or any(fnmatchcase(cell.name, pattern) for pattern in selection.cells):
                yield cell


def _of_backend(name: str, cases: Sequence[Case], selection: Selection) -> Iterator[Cell]:
    reason = backends.why_unavailable(name) or ""
    backend = None if reason else backends.get(name)
    modes, dtypes = _modes(name, backend, selection), _dtypes(selection)
    for place in places(name, backend, _devices(selection)):
        for dtype in dtypes or DTYPES:
            for mode in modes:
                impossible = reason or _impossible(name, place.device, mode)
                for case in cases:
                    if selection.optimizers and case.optimizer not in selection.optimizers:
                        continue
                    if dtype not in (dtypes or (*case.dtypes, *case.in_brief)):
                        continue
                    if _is_chosen(case, name, place, dtype, mode, selection):
                        yield Cell(case, name, place, dtype, mode, impossible)


def _devices(selection: Selection) -> list[str]:
    """Return the devices that are asked for, as an option or within the name of a cell."""
    return list(selection.devices) or [p.split("/")[4] for p in selection.cells if p.count("/") >= 4]


def _dtypes(selection: Selection) -> list[str]:
    """Return the data types that are asked for, as an option or within the name of a cell."""
    return list(selection.dtypes) or [dtype for dtype in DTYPES if any(f"/{dtype}/" in p for p in selection.cells)]


def _modes(name: str, backend: Backend | None, selection: Selection) -> list[str]:
    asked = selection.modes or [mode for mode in MODES if any(p.endswith(f"/{mode}") for p in selection.cells)]
    modes = list(asked) or _BY_DEFAULT.get(name, ["eager"])
    if backend is None:
        return modes
    compiles = backend.compile(_probe) is not _probe
    return [mode for mode in modes if peers.has(name, mode) and (compiles or mode != "traced")]


def _impossible(name: str, device: Any, mode: str) -> str:
    """Return why a mode that the library has cannot be on a device, or the empty string."""
    ask = getattr(peers.setup(name), "why_unavailable", None) if mode in peers.NEEDED else None
    return ask(mode, device) if ask else ""


def _is_possible(case: Case, backend: str, dtype: str, mode: str) -> bool:
    problem = case.problem
    if not case.runs(backend, mode):
        return False
    if problem.even != (mode == "sharded") or problem.is_complex != (dtype == "complex64"):
        return False
    if problem.skips and mode in ("traced", "vmap", "scan"):  # each pattern of None is another program
        return False
    return problem.objective is None or mode not in ("vmap", "scan")  # its gradients are made between two steps


def _is_chosen(case: Case, backend: str, place: Place, dtype: str, mode: str, selection: Selection) -> bool:
    if not _is_possible(case, backend, dtype, mode):
        return False
    if selection.cells:
        return True
    special = bool(place.special) and not selection.devices
    if special and mode not in _SPECIALLY:
        return False
    problem, default = case.problem, case.setting == "default"
    plain = problem.name == "brief" or (problem.brief and not case.is_optimizer())
    if special or mode in _ONCE:
        once = dtype == _ONCE.get(mode, "float32") or dtype in selection.dtypes
        asked = not selection.quick or (mode in selection.modes and not special)
        return once and asked and default and (plain or problem.even)
    if selection.quick and not plain:
        return False
    costly = (backend, mode) == ("mlx", "traced")  # a C++ compiler is run
    if dtype not in (*case.dtypes, *selection.dtypes):
        return problem.brief and default and not selection.quick and not costly
    scarce = backend in _SLOW or not case.is_optimizer()
    if selection.quick and scarce and not (selection.dtypes or selection.modes):
        return default and (dtype, mode) in _ONE_EACH and not costly
    if problem.objective is not None and not selection.quick and (dtype, mode) in _ONE_EACH:
        return not costly
    if case.dialect and (backend in _SLOW or mode == "traced"):
        return problem.brief and default  # their rules are tested there in every setting, by uniopt's own names
    if backend not in _SLOW:
        return problem.brief or not (selection.quick or mode == "traced")
    return problem.brief and (default or dtype == "float64" or dtype in selection.dtypes)


def _probe(x: Any) -> Any:
    return x
