"""One call of `init` or `update`: its trees taken apart and checked, once, for all the stages that work on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from uniopt import tree
from uniopt.backends import registry
from uniopt.backends.protocol import Backend
from uniopt.errors import StateError, TreeStructureError
from uniopt.gradients import check_gradients
from uniopt.library import library_of, numbers_as_arrays
from uniopt.place import Place, places_of
from uniopt.typing import Array, Tree

if TYPE_CHECKING:
    from optree import PyTreeSpec


class Step:
    """The leaves of one call: their library, structure, dtypes and devices.

    Attributes
    ----------
    backend, xp
        The library of all leaves, and its Array API namespace.
    structure
        The structure of the gradients (of the parameters, in `init`), with ``None`` as a leaf.
    leaves
        The leaves as they were given, Python numbers as 0-d arrays.
    places
        For each leaf its `Place`; None where the gradient is ``None``.
    counts
        For each leaf the number of its own steps before this one; None where all leaves count together.
    """

    __slots__ = (
        "_dtypes", "_exact", "_name", "_params", "_whole", "backend", "counts", "leaves", "places", "structure", "xp"
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        structure: PyTreeSpec,
        name: str,
        leaves: list[Any],
        places: list[Place | None],
        dtypes: list[Any],
        whole: tuple[Step, list[int]] | None = None,
        counts: list[Any] | None = None,
    ) -> None:
        self.backend = backend
        self.xp = backend.xp
        self.structure = structure
        self.leaves = leaves
        self.places = places
        self.counts = counts
        self._name = name
        self._dtypes = dtypes
        self._whole = whole
        self._exact: set[int] = set()
        self._params: list[Any] | None = None

    @classmethod
    def of_params(cls, params: Tree) -> tuple[Step, list[Any]]:
        """Return the step of ``init(params)`` and the parameters' leaves in their compute dtypes."""
        found, structure = tree.flatten(params)
        backend = library_of(structure, params=found) or registry.get("numpy")
        leaves = numbers_as_arrays(backend, found, found)
        places = places_of(backend, leaves, lambda i: tree.paths(structure, "params")[i], updated=False)
        step = cls(backend, structure, "params", leaves, places, [None if x is None else x.dtype for x in leaves])
        return step, step.widen(leaves)

    @classmethod
    def of_update(
        cls,
        updates: Tree,
        params: Tree,
        *,
        per_example: Callable[[], bool] = bool,
        names: tuple[str, str] = ("updates", "params"),
    ) -> tuple[Step, list[Any], list[Any] | None]:
        """Return the step of ``update(updates, ..., params)`` and the leaves of both in their compute dtypes.

        Parameters
        ----------
        updates, params
            The trees.
        per_example
            Returns whether a gradient may have a first axis of examples, which its parameter has not.
        names
            What to call the trees in errors.
        """
        grads, structure = tree.flatten(updates)
        values: list[Any] = [None] * len(grads)
        if params is not None:
            aligned = tree.align(structure, params, updates, names=names)
            values = [None if g is None else p for g, p in zip(grads, aligned, strict=True)]
        backend = library_of(structure, **dict(zip(names, (grads, values), strict=True)))
        if backend is None:  # every gradient is None or a number
            backend = library_of(None, params=tree.leaves(params)) or registry.get("numpy")
        grads, values = (
            numbers_as_arrays(backend, grads, values),
            numbers_as_arrays(backend, values, grads),
        )
        name = names[params is not None]
        targets = grads if params is None else values
        places = places_of(backend, targets, lambda i: tree.paths(structure, name)[i], updated=True)
        dtypes = [None if x is None else x.dtype for x in targets]
        step = cls(backend, structure, name, grads, places, dtypes)
        if params is None:
            return step, step.widen(grads), None
        step._params = aligned
        check_gradients(backend, grads, values, step.path, names, per_example)
        return step, step.widen(grads), step.widen(values)

    def path(self, i: int, root: str | None = None) -> str:
        """Return the expression that reaches leaf `i`, such as ``params['layer']['w']``."""
        return tree.paths(self.structure, root or self._name)[i]

    def widen(self, leaves: Sequence[Any]) -> list[Any]:
        """Return the leaves in the dtypes that are computed in: float32 for the 16-bit floats."""
        astype = self.backend.astype
        return [
            x if x is None or place is None or x.dtype == place.dtype else astype(x, place.dtype)
            for x, place in zip(leaves, self.places, strict=True)
        ]

    def narrow(self, results: Sequence[Any]) -> list[Any]:
        """Return results in the dtypes that the parameters (or else the gradients) came in."""
        restore = self.backend.restore
        return [
            x if x is None or (type(x) is type(like) and x.dtype == dtype) else restore(x, like, dtype)
            for x, like, dtype in zip(results, self.leaves, self._dtypes, strict=True)
        ]

    def finish(self, updates: Sequence[Any]) -> list[Any]:
        """Return updates as the user gets them: narrow, but for those that `reach` has made."""
        results = self.narrow(updates)
        for i in self._exact:
            if updates[i] is not None:
                results[i] = self.backend.restore(updates[i], self.leaves[i], self.places[i].dtype)  # type: ignore[union-attr]  # it has a gradient
        return results

    def replace(self, params: Tree, results: Sequence[Any]) -> Tree:
        """Return `params` with the results in place of its leaves, and unchanged where there is none."""
        held = tree.align(self.structure, params, self.rebuild(self.leaves), names=("updates", "params"))
        restore = self.backend.restore
        return self.rebuild(
            [p if x is None else restore(x, p, dtype) for p, x, dtype in zip(held, results, self._dtypes, strict=True)]
        )

    def rebuild(self, leaves: Sequence[Any]) -> Tree:
        """Return the tree of this step's structure with those leaves."""
        return tree.unflatten(self.structure, leaves)

    def rebuild_params(self, leaves: Sequence[Any]) -> Tree:
        """Return the tree of the parameters with those leaves, and as they are where there is no gradient."""
        held = self._params or leaves
        return self.rebuild([p if g is None else x for g, x, p in zip(self.leaves, leaves, held, strict=True)])

    def slot(self, values: Tree, name: str) -> list[Any]:
        """Return what a state's slot holds for each leaf; anything where the gradient is ``None``."""
        try:
            found: list[Any] = self.structure.flatten_up_to(values)
        except ValueError:
            self._refuse(values, name)
        kinds = {type(x) for x, place in zip(found, self.places, strict=True) if place is not None}
        if any(registry.find(kind) is not self.backend for kind in kinds):
            for i, (x, place) in enumerate(zip(found, self.places, strict=True)):
                if place is not None and registry.find(type(x)) is not self.backend:
                    self.check_library(x, partial(self.path, i, name))
        return found

    def check_library(self, x: Any, path: Callable[[], str]) -> None:
        """Raise StateError unless `x` is an array of this step's library, or a list or tuple of such."""
        if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
            for i, item in enumerate(x):
                self.check_library(item, partial(_item, path, i))
        elif (found := registry.find(type(x))) is not self.backend:
            kind = "no array" if found is None else f"an array of {found.name}"
            raise StateError(
                f"{path()} is {kind} ({type(x).__name__}), expected an array of {self.backend.name} like the "
                "parameters. Call init with these parameters."
            )

    def _refuse(self, values: Tree, name: str) -> NoReturn:
        """Raise StateError for a slot of another structure."""
        mine = self.rebuild(self.leaves)
        partial = any(place is None for place in self.places)  # then the state may have more than the gradients
        pair = ((values, name), (mine, self._name)) if partial else ((mine, self._name), (values, name))
        try:
            tree.check_structure(pair[0][0], pair[1][0], names=(pair[0][1], pair[1][1]))
        except TreeStructureError as error:
            raise StateError(f"The state belongs to another tree. {error} Call init with these parameters.") from None
        raise StateError(f"The state belongs to another tree: {name} is {values!r}. Call init with these parameters.")

    def counter(self) -> Array:
        """Return a new counter: a 0-d int32 array of 0 where the first leaf lives."""
        return self.backend.asarray(0, dtype=self.backend.xp.int32, like=self.first())

    def first(self) -> Array | None:
        """Return the first leaf, of the whole tree if this part of it has none; None for a tree without leaves."""
        found = next((x for x in self.leaves if x is not None), None)
        return self._whole[0].first() if found is None and self._whole is not None else found

    def part(self, marked: Tree) -> tuple[Step, list[int]]:
        """Return the step of some of the leaves, and their positions in this one.

        Parameters
        ----------
        marked
            The tree of the positions, with containers without leaves where the part has nothing.
        """
        positions, structure = tree.flatten(marked)
        leaves, places, dtypes = ([column[i] for i in positions] for column in (self.leaves, self.places, self._dtypes))
        counts = None if self.counts is None else [self.counts[i] for i in positions]
        return Step(self.backend, structure, self._name, leaves, places, dtypes, (self, positions), counts), positions

    def counted(self, counts: list[Any]) -> Step:
        """Return this step with a count of its own for each leaf."""
        whole = (self, list(range(len(self.leaves))))
        return Step(self.backend, self.structure, self._name, self.leaves, self.places, self._dtypes, whole, counts)

    def wide(self, leaves: Sequence[Any]) -> Step:
        """Return this step as that of leaves which came in the dtypes that are computed in."""
        dtypes = [None if place is None else place.dtype for place in self.places]
        return Step(self.backend, self.structure, self._name, list(leaves), self.places, dtypes, counts=self.counts)

    def dtype(self, i: int) -> Any:
        """Return the dtype that parameter `i` came in; that of its place is the one it is computed in."""
        return self._dtypes[i]

    def reach(self, i: int, target: Any, p: Any) -> Any:
        """Return the update that takes parameter `p` to `target`, rounded to the parameter's dtype.

        It is the difference of two numbers of that dtype, which need not be one: it is handed out as it is, so that
        nothing but the sum is rounded when it is added.
        """
        self._keep(i)
        return self.backend.rounded(target, self._dtypes[i]) - p

    def _keep(self, i: int) -> None:
        self._exact.add(i)
        if self._whole is not None:
            whole, positions = self._whole
            whole._keep(positions[i])

    def aside(self) -> Step:
        """Return the same step with nothing brought to its places yet.

        What is brought under a library's conditional must not be taken for known outside of it.
        """
        fresh = {id(place): Place(place.backend, place.like, place.dtype) for place in self.places if place is not None}
        places = [None if place is None else fresh[id(place)] for place in self.places]
        return Step(self.backend, self.structure, self._name, self.leaves, places, self._dtypes, counts=self.counts)


def _item(path: Callable[[], str], i: int) -> str:
    return f"{path()}[{i}]"
