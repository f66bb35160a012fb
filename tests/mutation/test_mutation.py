"""The suite is tested by faults: whichever token of a rule is wrong, some number is, and something says so."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

import uniopt
from tests.mutation import rules, shims
from tests.mutation.corpus import Corpus, faults_of
from tests.mutation.equivalent import FILE, listed
from tests.mutation.faults import faults
from tests.mutation.planting import planted
from tests.mutation.rules import MODULES

NOTED = [
    ("optimizers/adam.py", "nu = average(b1, s.nu, abs_squared(xp, g))"),
    ("optimizers/amsgrad.py", "nu_max = xp.minimum("),
    ("optimizers/radam.py", "if above else length < threshold"),
    ("optimizers/adabelief.py", "abs_squared(xp, g + mu)"),
    ("optimizers/novograd.py", "average(b2, s.nu, squared), squared)"),
    ("optimizers/adan.py", "t.is_first(), g - s.g, xp.zeros_like(g)"),
    ("optimizers/sm3.py", "least = reduce(xp.maximum, along)"),
    ("optimizers/yogi.py", "nu = s.nu + (1 - b2)"),
    ("optimizers/lion.py", "direction = average(b2, s.mu, g)"),
    ("optimizers/adagrad.py", "total = s.sum_of_squares - abs_squared(xp, g)"),
    ("moments.py", "return decay * old + (1 + decay) * new"),
    ("moments.py", "return b1 * (mu / t.bias_correction(b1, )) +"),
    ("numerics.py", "-(t * math.log(decay))"),
    ("transforms/decay.py", "return g - weight_decay * p"),
    ("transforms/trace.py", "return (g + decay * m if not (nesterov) else m)"),
]
"""Faults of the kind that a test of convergence lets pass, by a part of the line."""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return rules.corpus()


@pytest.fixture(scope="module")
def quick_corpus() -> Corpus:
    return rules.corpus(quick=True)


@pytest.mark.parametrize(("module", "line"), NOTED)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_noted_faults_are_found(quick_corpus: Corpus, module: str, line: str) -> None:
    chosen = [fault for fault in faults_of(module) if line in fault.line]
    assert chosen
    assert all(quick_corpus.caught(fault) for fault in chosen)


@pytest.mark.wide
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
def test_every_fault_is_found(corpus: Corpus, module: str, record_property: pytest.RecordProperty) -> None:
    equal, close = listed("nothing"), listed("rounding")
    wrong, counts = [], dict.fromkeys(("found", "equivalent"), 0)
    for fault in faults_of(module):
        expected = fault.name not in equal and fault.name not in close
        found = corpus.differs(fault) if fault.name in equal else corpus.caught(fault)
        counts["found" if found else "equivalent"] += 1
        if bool(found) != expected:
            wrong.append(f"{fault.name}\n    {found or 'not found'}")
    for name, count in counts.items():
        record_property(name, count)
    assert not wrong, "\n".join([f"Not found, or listed in {FILE.name} and found all the same:", *wrong])


def test_every_listed_fault_exists() -> None:
    known = {fault.name for module in (*MODULES, *shims.MODULES) for fault in faults_of(module)}
    assert not listed().keys() - known, f"{FILE.name} lists faults that there are no more"


def test_faults_have_names_of_their_own() -> None:
    for module in (*MODULES, *shims.MODULES):
        names = [fault.name for fault in faults_of(module)]
        assert len(set(names)) == len(names)
        assert module.partition("/")[0] not in ("optimizers", "backends") or names, f"no faults in {module}"


SOURCE = '''
"""A module."""

LIMIT = 2.0


def rule(xp: Any, g: Array, p: Array, *, b1: Scalar, b2: Scalar = 0.5, last: bool = False) -> Array:
    """Return x - y."""
    if b1 > 1:
        raise ValueError(f"{b1 + 1}")
    mean = xp.maximum(-g, 0) / xp.sqrt(b2 * p)
    return xp.where(p < LIMIT, mean, other(g, b=b1)) if last else xp.zeros_like(p)
'''


def test_one_token_of_every_kind_is_replaced() -> None:
    lines = {fault.line for fault in faults("rule.py", SOURCE)}
    head = "def rule(xp: Any, g: Array, p: Array, *, b1: Scalar, b2: Scalar = "
    assert lines == {
        "LIMIT = 4.0",
        f"{head}0.25, last: bool = False) -> Array:",
        f"{head}0.5, last: bool = True) -> Array:",
        *(
            f"mean = {mean}"
            for mean in (
                "xp.maximum(-g, 0) * xp.sqrt(b2 * p)",
                "xp.minimum(-g, 0) / xp.sqrt(b2 * p)",
                "xp.maximum(-g) / xp.sqrt(b2 * p)",
                "xp.maximum(g, 0) / xp.sqrt(b2 * p)",
                "xp.maximum(-p, 0) / xp.sqrt(b2 * p)",
                "xp.maximum(-g, 1) / xp.sqrt(b2 * p)",
                "xp.maximum(-g, 0) / (b2 * p)",
                "xp.maximum(-g, 0) / xp.sqrt(b2 / p)",
                "xp.maximum(-g, 0) / xp.sqrt(b1 * p)",
                "xp.maximum(-g, 0) / xp.sqrt(b2 * g)",
            )
        ),
        *(
            f"return {value}"
            for value in (
                "xp.where(p < LIMIT, other(g, b=b1), mean) if last else xp.zeros_like(p)",
                "xp.where(p <= LIMIT, mean, other(g, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(p > LIMIT, mean, other(g, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(g < LIMIT, mean, other(g, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(mean < LIMIT, mean, other(g, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, g, other(g, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, p, other(g, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, mean, other(g, )) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, mean, other(mean, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, mean, other(p, b=b1)) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, mean, other(g, b=b2)) if last else xp.zeros_like(p)",
                "xp.where(p < LIMIT, mean, other(g, b=b1)) if not (last) else xp.zeros_like(p)",
                "xp.where(p < LIMIT, mean, other(g, b=b1)) if last else xp.ones_like(p)",
            )
        ),
    }


def test_a_fault_is_taken_out_again() -> None:
    params = np.ones(2)
    expected = _first_update(params)
    fault = next(fault for fault in faults_of("transforms/scale.py") if "(learning_rate if flip_sign" in fault.line)
    rule = import_module("uniopt.transforms.scale")._scale_by_learning_rate
    before = rule.__code__
    with planted(fault):
        assert rule.__code__ is not before
        np.testing.assert_array_equal(_first_update(params), -expected)
    assert rule.__code__ is before
    np.testing.assert_array_equal(_first_update(params), expected)


def _first_update(params: np.ndarray) -> np.ndarray:
    tx = uniopt.sgd(0.5)
    return tx.update(params, tx.init(params), params)[0]
