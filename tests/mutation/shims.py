"""The shims of the libraries, and their trials: what the suite has of tests and cells on each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from uniopt.conformance.cases import all_cases
from uniopt.conformance.cells import Selection

from tests.mutation.collected import with_tests
from tests.mutation.corpus import Corpus
from tests.mutation.trials import of_cells

OPTIMIZERS = ("adamw", "lion", "noisy_sgd", "polyak_sgd", "sam", "apply_if_finite", "MultiSteps")


@dataclass(frozen=True)
class Shim:
    """What may find a fault in a module.

    Attributes
    ----------
    library
        Whose cells are run; empty for none.
    tests
        Files of tests.
    named
        Which of these tests, as pytest's ``-k`` has it.
    """

    library: str
    tests: Sequence[str]
    named: str = ""


SHIMS = {
    "backends/array_api_strict.py": Shim("array_api_strict", ["tests/backends"], "strict"),
    "backends/dask.py": Shim("dask", ["tests/backends"], "dask"),
    "backends/dtypes.py": Shim("", ["tests/backends/test_dtypes.py"]),
    "backends/jax.py": Shim("jax", ["tests/backends"], "jax"),
    "backends/mlx.py": Shim("mlx", ["tests/backends"], "mlx"),
    "backends/numpy.py": Shim("numpy", ["tests/backends"], "numpy"),
    "backends/registry.py": Shim("", ["tests/errors/test_wrong_library.py"]),
    "backends/standard.py": Shim("array_api_strict", ["tests/backends"], "strict"),
    "backends/torch.py": Shim("torch", ["tests/backends"], "torch"),
}


def with_corpus(module: str, use: Callable[[Corpus], None]) -> None:
    """Call a function with the trials of a shim."""
    shim = SHIMS[module]
    selection = Selection(backends=[shim.library], optimizers=OPTIMIZERS, against=["reference", "numpy"], quick=True)
    cells = list(of_cells(selection, all_cases())) if shim.library else []
    named = ["-k", shim.named] if shim.named else []
    with_tests(
        [*shim.tests, "-m", "not wide and not slow", *named], lambda tests: use(Corpus([*tests, *cells], [module]))
    )
