"""A step for trees of one structure, as the library of the parameters compiles it: a function of lists of arrays."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

from uniopt import tree
from uniopt.backends import registry
from uniopt.backends.dtypes import dtype_kind, dtype_name
from uniopt.errors import MissingParamsError, NotWritableError, StateError
from uniopt.library import library_of, numbers_as_arrays
from uniopt.place import NUMBERS, is_number
from uniopt.reader import reader
from uniopt.transformation import GradientTransformation
from uniopt.typing import Array, Tree
from uniopt.updates import apply_updates

if TYPE_CHECKING:
    from optree import PyTreeSpec


class TreeProgram:
    """A step for trees of one structure: compiled as a function of lists of arrays.

    Attributes
    ----------
    has_numbers
        Whether there are Python numbers among the leaves, or what stands for one.
    """

    def __init__(self, tx: GradientTransformation, leaves: list[Any], structure: PyTreeSpec, *, donate: bool) -> None:
        self._tx = tx
        self._structure = structure
        self._read = reader(structure)
        counts = [child.num_leaves for child in structure.children()]
        self._parts = [sum(counts[:k]) for k in range(5)]  # where gradients, extra, state and parameters begin
        grads, _, state, params = (leaves[i:j] for i, j in itertools.pairwise(self._parts))
        self._backend = (
            library_of(None, params=params, updates=grads) or library_of(None, state=state) or registry.get("numpy")
        )
        state = self._with_scalars_set(state, params, structure.children())
        leaves = [*leaves[: self._parts[2]], *state, *params]
        self._types = list(map(type, leaves))
        children = structure.children()
        self._results = tree.joined(children[2:])
        if any(x is not None for x in grads) and all(x is None for x in params):
            raise MissingParamsError(
                "A compiled step adds the updates to the parameters, but it was called without them. "
                "Call step(grads, state, params)."
            )
        self._check_library(state, children[2])
        # A gradient of None is only another call's; the parameter tells what it would be, and the other gradients of
        # how many examples. Of `LookaheadParams` the first tree is the one that has gradients.
        follows = children[0] in (children[3], *children[3].children()[:1]) and _are_alike(grads, params)
        paired = range(len(grads)) if follows else ()
        own = [leaves[i + self._parts[3]] if x is None and i in paired else x for i, x in enumerate(leaves)]
        arrays = [i for i, x in enumerate(own) if is_number(x) or registry.find(type(x)) is not None]
        self._kept = [i for i in arrays if i < self._parts[2]]
        self._donated = [i for i in arrays if i >= self._parts[2]]
        self._gradients = {i for i in paired if i in self._kept}
        self.has_numbers = any(map(is_number, own)) or any(
            registry.find(type(leaves[i])) is not self._backend for i in self._kept if i >= self._parts[1]
        )
        self._all_arrays = len(arrays) == len(leaves) and not self.has_numbers
        # What is no array (None, a function among the extra arguments) belongs to the program.
        self._rest = {i: x for i, x in enumerate(leaves) if i not in set(arrays)}
        self._static = [(i, x) for i, x in self._rest.items() if x is not None]
        self._scalars = {
            i: leaves[i].dtype
            for i in range(self._parts[2], self._parts[3])
            if getattr(leaves[i], "shape", None) == () and registry.find(type(leaves[i])) is self._backend
        }
        place = {i: k for k, i in enumerate(self._donated)}
        parameters = {
            self._kept.index(i): place[i + self._parts[3]] for i in self._gradients if i + self._parts[3] in place
        }
        self._run = self._backend.compile_step(self._step, donate=donate, parameters=parameters)

    def results(self, kept: list[Array], donated: list[Array]) -> list[Array]:
        """Return the new arrays of `donated`: the list itself if all have been updated in place."""
        try:
            return self._run(kept, donated)
        except NotWritableError as error:
            raise NotWritableError(error.index, error.reason, self.path(error.index)) from None

    def read(self, trees: tuple[Tree, Any, Tree, Tree]) -> list[Any] | None:
        """Return the leaves of trees that the program is for, and None for others; some others are not recognized."""
        leaves = self._read(trees)
        return leaves if leaves is not None and self.fits(leaves) else None

    def fits(self, leaves: list[Any]) -> bool:
        """Return whether the program is for trees of its structure with these leaves."""
        return (list(map(type, leaves)) == self._types or self._differs_in_gradients(leaves)) and (
            not self._static or all(leaves[i] is x or (isinstance(x, str) and leaves[i] == x) for i, x in self._static)
        )

    def with_scalars(self, leaves: list[Any]) -> list[Any]:
        """Return the leaves with an array for each number that has been set in place of a scalar of the state."""
        numbers = {i for i in self._scalars if type(leaves[i]) is not self._types[i] and _is_host_number(leaves[i])}
        if not numbers:
            return leaves
        for i in numbers:
            if dtype_kind(dtype_name(self._scalars[i])) == "integer" and not _is_integer(leaves[i]):
                path = tree.paths(self._structure.children()[2], "state")[i - self._parts[2]]
                raise StateError(f"{path} is {leaves[i]!r}, expected an integer or a 0-d array of one.")
        like = next((x for x in leaves[self._parts[3] :] if hasattr(x, "dtype")), None)
        return [
            self._backend.asarray(x, dtype=self._scalars[i], like=like) if i in numbers else x
            for i, x in enumerate(leaves)
        ]

    def _with_scalars_set(self, state: list[Any], params: list[Any], structures: list[PyTreeSpec]) -> list[Any]:
        """Return the leaves of a state with an array for each number that has been set before the first step."""
        arrays = [x for x in params if hasattr(x, "dtype")]
        is_wide = not arrays or any(dtype_name(x.dtype) in ("float64", "complex128") for x in arrays)
        real = self._backend.dtype("float64" if is_wide else "float32")
        values = {i: x for i, x in enumerate(state) if self._is_set(x)}
        integers = self._integers(params, structures) if any(map(_is_integer, values.values())) else {}
        like = next(iter(arrays), None)

        def array(i: int, x: Any) -> Array:
            if i in integers and _is_integer(x):
                return self._backend.asarray(int(x), dtype=integers[i], like=like)
            return self._backend.asarray(float(x), dtype=real, like=like)

        return [array(i, x) if i in values else x for i, x in enumerate(state)]

    def _integers(self, params: list[Any], structures: list[PyTreeSpec]) -> dict[int, Any]:
        """Return the dtypes of the leaves of a state that are integers where ``init`` makes it."""
        made, structure = tree.flatten(self._tx.init(tree.unflatten(structures[3], params)))
        if structure != structures[2]:
            return {}
        dtypes = {i: x.dtype for i, x in enumerate(made) if hasattr(x, "dtype")}
        return {i: dtype for i, dtype in dtypes.items() if dtype_kind(dtype_name(dtype)) == "integer"}

    def _is_set(self, x: Any) -> bool:
        """Return whether a leaf of a state is a real number: Python's, or NumPy's among arrays of another library."""
        if isinstance(x, NUMBERS):
            return isinstance(x, float) or type(x) is int
        kinds = ("real", "integer")
        return self._backend.name != "numpy" and _is_host_number(x) and dtype_kind(dtype_name(x.dtype)) in kinds

    def _differs_in_gradients(self, leaves: list[Any]) -> bool:
        """Return whether the leaves are of other types only where gradients are missing, or are no more."""
        return all(
            type(x) is cls
            or (i in self._gradients and (x is None or (cls is type(None) and registry.find(type(x)) is self._backend)))
            for i, (x, cls) in enumerate(zip(leaves, self._types, strict=True))
        )

    def arrays(self, leaves: list[Any]) -> tuple[list[Array], list[Array]]:
        """Return the arrays among the leaves, Python numbers as 0-d arrays."""
        if self._all_arrays:
            return leaves[: self._parts[2]], leaves[self._parts[2] :]
        if self.has_numbers:
            leaves = self._converted(leaves)
        return [leaves[i] for i in self._kept], [leaves[i] for i in self._donated]

    def _check_library(self, state: list[Any], structure: PyTreeSpec) -> None:
        """Raise StateError if the state has arrays of another library."""
        for i, x in enumerate(state):
            found = None if is_number(x) else registry.find(type(x))
            if found not in (None, self._backend):
                raise StateError(
                    f"{tree.paths(structure, 'state')[i]} is an array of {found.name} ({type(x).__name__}), expected "
                    f"an array of {self._backend.name} like the parameters. Call init with these parameters."
                )

    def path(self, index: int) -> str:
        """Return the expression that reaches an array of `donated`."""
        i = self._donated[index]
        number, root = (2, "state") if i < self._parts[3] else (3, "params")
        return tree.paths(self._structure.children()[number], root)[i - self._parts[number]]

    def rebuild(self, results: list[Array]) -> tuple[Tree, Tree]:
        """Return the parameters and the state that a list of results stands for."""
        if len(results) < self._results.num_leaves:
            held = {**self._rest, **dict(zip(self._donated, results, strict=True))}
            results = [held[i] for i in range(self._parts[2], self._parts[4])]
        state, params = tree.unflatten(self._results, results)
        return params, state

    def _converted(self, leaves: list[Any]) -> list[Any]:
        grads, extra, state, params = (leaves[i:j] for i, j in itertools.pairwise(self._parts))
        convert = partial(numbers_as_arrays, self._backend)
        paired = len(grads) == len(params)
        extra = [self._own(x) for x in extra]
        arrays = [x for x in (*params, *grads) if hasattr(x, "dtype")]
        # As exact as the leaves: torch makes float32 of a number by itself. And on their device.
        wide = next((x for x in arrays if dtype_name(x.dtype) == "float64"), None)
        return [
            *convert(grads, params if paired else grads),
            *convert(extra, [wide if type(x) in (int, float) else x for x in extra], next(iter(arrays), None)),
            *convert(state, state),
            *convert(params, grads if paired else params),
        ]

    def _own(self, x: Any) -> Any:
        """Return an extra argument, and a number for a 0-d array of another library."""
        found = registry.find(type(x))
        if found in (None, self._backend) or tuple(x.shape) != ():
            return x
        return found.to_numpy(x).item()

    def _step(self, kept: list[Array], donated: list[Array]) -> list[Array]:
        held = {
            **self._rest,
            **dict(zip(self._kept, kept, strict=True)),
            **dict(zip(self._donated, donated, strict=True)),
        }
        grads, extra, state, params = tree.unflatten(self._structure, [held[i] for i in range(self._parts[4])])
        updates, after = self._tx.update(grads, state, params, **extra)
        found, structure = tree.flatten((after, apply_updates(params, updates)))
        if structure != self._results or any(
            (x is None) != (i in self._rest) for i, x in enumerate(found, self._parts[2])
        ):
            raise StateError(
                f"{self._tx!r} returned a state of another structure than the one it was given: "
                f"{structure.children()[0]}, expected {self._results.children()[0]}. A compiled step needs a state "
                "that keeps its structure."
            )
        return [found[i - self._parts[2]] for i in self._donated]


def _are_alike(grads: list[Any], params: list[Any]) -> bool:
    """Return whether gradients are shaped like their parameters, or all have as many examples along a first axis."""
    pairs = [
        (tuple(getattr(g, "shape", ())), tuple(getattr(p, "shape", ())))
        for g, p in zip(grads, params, strict=False)
        if g is not None
    ]
    examples = next((g[: len(g) - len(p)] for g, p in pairs), ())
    return len(examples) <= 1 and all(g == (*examples, *p) for g, p in pairs)


def _is_integer(x: Any) -> bool:
    """Return whether a host number is an integer."""
    return dtype_kind(dtype_name(x.dtype)) == "integer" if hasattr(x, "dtype") else type(x) is int


def _is_host_number(x: Any) -> bool:
    """Return whether `x` is a Python number, or a NumPy scalar or 0-d array."""
    return is_number(x) or (getattr(x, "shape", None) == () and registry.find(type(x)) is registry.get("numpy"))
