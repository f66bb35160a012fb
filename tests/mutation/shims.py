"""The shims of the libraries, optree's among them, and their trials: the suite's tests, and its cells on each library.

CuPy's runs on a device only, and is not among them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from uniopt.conformance.cases import all_cases
from uniopt.conformance.cells import Selection

from tests.mutation.collected import with_tests
from tests.mutation.corpus import Corpus, source_of
from tests.mutation.faults import Fault
from tests.mutation.trials import Trial, of_cells

MODULES = {
    "backends/array_api_strict.py": ("array_api_strict", "strict"),
    "backends/dask.py": ("dask", "dask"),
    "backends/dtypes.py": ("", "test_dtypes"),
    "backends/jax.py": ("jax", "jax"),
    "backends/mlx.py": ("mlx", "mlx"),
    "backends/numpy.py": ("numpy", "numpy"),
    "backends/numpy_dtypes.py": ("numpy", "numpy"),
    "backends/registry.py": ("", "test_registry"),
    "backends/standard.py": ("array_api_strict", "strict or dask or mlx or numpy or test_standard"),
    "backends/torch/__init__.py": ("torch", "torch"),
    "backends/torch/memory.py": ("torch", "torch"),
    "traced_tree.py": ("", "test_traced_tree"),
}
"""Whose cells are run, and which tests: what pytest's ``-k`` selects of them."""

TESTS = ("tests/backends", "tests/properties/test_conditional.py", "tests/properties/test_traced_tree.py")
OPTIMIZERS = ("adamw", "lion", "polyak_sgd", "sam", "apply_if_finite", "MultiSteps", "add_noise")


def with_corpus(module: str, use: Callable[[Corpus], None]) -> None:
    """Call a function with the trials of a shim."""
    library, named = MODULES[module]
    cells = list(_cells(library)) if library else []

    def with_trials(tests: list[Trial]) -> None:
        # A program at a wrong address ends the process, so what looks at the addresses goes first.
        tests.sort(key=lambda trial: "_memory.py" not in trial.name and "_shards.py" not in trial.name)
        trials = [replace(trial, failure=partial(_anew, trial.failure)) for trial in [*tests, *cells]]
        corpus = Corpus(trials, [module])
        if found := corpus.caught(Fault(module, "", "as it is", 1, source_of(module))):
            raise AssertionError(f"Planted without any fault, {module} is found by {found}")
        use(corpus)

    with_tests([*TESTS, "-m", "not wide and not slow", "-k", named], with_trials)


def _cells(library: str) -> Iterator[Trial]:
    """Yield the quick cells of some optimizers, and those of the library's personalities and of complex numbers."""
    usual = Selection(backends=[library], optimizers=OPTIMIZERS, against=["reference", "numpy"], quick=True)
    few, cases = replace(usual, optimizers=OPTIMIZERS[:2]), all_cases()
    for selection in (
        usual,
        replace(few, devices=["*+*"], dtypes=["float32"]),
        replace(few, devices=["cpu"], dtypes=["complex64"]),
    ):
        for trial in of_cells(selection, cases):
            yield replace(trial, case=None)  # which would be the path on NumPy


def _anew(failure: Callable[[], str]) -> str:
    """Return what is wrong, though torch remembers what it has traced by the code of the caller, which has no fault."""
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
    return failure()
