"""Every exported optimizer, transformation and schedule has cases, and the problems are what they say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from uniopt.conformance import cases, reference
from uniopt.conformance.objectives import OBJECTIVES
from uniopt.conformance.problems import COMPLEX, PROBLEMS, SPOILED, paired, recorded
from uniopt.conformance.reference import OPTIMIZERS
from uniopt.conformance.schedules import SCHEDULES
from uniopt.conformance.settings import REAL_ONLY
from uniopt.conformance.transformations import PARTS, TRANSFORMATIONS, WITHOUT_CASES
from uniopt.conformance.wrappers import WRAPPERS

import uniopt
import uniopt.optimizers
from tests.shown import SHOWN


def test_an_optimizer_without_a_case_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def newcomer(learning_rate: float) -> uniopt.GradientTransformation:
        return uniopt.sgd(learning_rate)

    monkeypatch.setattr(uniopt.optimizers, "newcomer", newcomer, raising=False)
    with pytest.raises(LookupError, match=r"exports newcomer without a conformance case. Add a line to SETTINGS"):
        cases.all_cases()


def test_a_case_without_an_optimizer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cases.SETTINGS, "lyon", {"default": {}})
    with pytest.raises(LookupError, match="SETTINGS has lyon"):
        cases.all_cases()


def test_names_are_unique_and_every_optimizer_is_tested_on_every_problem() -> None:
    found = cases.all_cases()
    assert len({case.name for case in found}) == len(found)
    assert {(case.optimizer, case.problem.name) for case in found if case.optimizer in cases.exported()} == {
        (name, problem)
        for name in cases.exported()
        for problem in (*PROBLEMS, *OBJECTIVES, "spoiled", *(() if name in REAL_ONLY else ("complex",)))
    }
    without = {case.optimizer for case in found if case.reference is None and not case.dialect}
    assert without <= cases.exported().keys() - OPTIMIZERS.keys()
    assert {case.optimizer for case in found} == cases.registered().keys()
    assert all(case.is_registered() for case in found)


def exported(returned: str) -> set[str]:
    """Return the functions that uniopt shows whose annotation of what they return has a word in it."""
    functions = {name: f for name, f in SHOWN.items() if inspect.isroutine(f) or name == "MultiSteps"}
    signatures = {name: inspect.signature(f) for name, f in functions.items()}
    return {name for name, found in signatures.items() if re.search(returned, str(found.return_annotation))}


def test_every_transformation_has_a_case_or_a_reason() -> None:
    transformations = exported(r"GradientTransformation|MultiSteps")
    assert transformations == {*TRANSFORMATIONS, *WRAPPERS, *WITHOUT_CASES, *cases.exported()}
    assert WITHOUT_CASES.keys().isdisjoint({*TRANSFORMATIONS, *WRAPPERS})
    assert all(WITHOUT_CASES.values())


@pytest.mark.parametrize(("name", "optimizer"), PARTS.items())
def test_a_rule_is_part_of_the_optimizer_that_it_is_tested_with(name: str, optimizer: str) -> None:
    made = [repr(case.transformation()) for case in cases.all_cases() if case.optimizer == optimizer]
    assert any(f"{name}(" in text for text in made)


def test_every_schedule_has_a_case() -> None:
    assert exported(r"^'?Schedule'?$") == SCHEDULES.keys()


@pytest.mark.parametrize("name", cases.SUBJECTS)
def test_a_subject_is_tested_briefly_by_default(name: str) -> None:
    subject = cases.SUBJECTS[name]
    assert next(iter(subject.settings)) == "default"
    assert any(problem.brief for problem in subject.problems)


def test_references_share_no_code_with_the_library() -> None:
    for path in Path(reference.__file__).parent.glob("*.py"):
        imported = set(re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert not {name for name in imported if name.startswith("uniopt") and ".conformance.reference" not in name}
        assert not imported & {"numpy", "optax", "torch", "jax"}


def test_problems_have_every_kind_of_leaf() -> None:
    leaves = uniopt.tree.leaves(PROBLEMS["normal"].params)
    assert {leaf.ndim for leaf in leaves} == {0, 1, 2, 4}
    assert any(leaf.size == 0 for leaf in leaves)
    assert any(leaf.ndim == 2 and leaf.flags.f_contiguous and not leaf.flags.c_contiguous for leaf in leaves)
    assert any(leaf.size and not leaf.any() for leaf in leaves)
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 for leaf in leaves)
    assert any(leaf is None for leaf in uniopt.tree.flatten(PROBLEMS["normal"].params)[0])


def test_streams_are_what_their_names_say() -> None:
    vectors = {name: np.stack([g["vector"][0] for g in p.gradients]) for name, p in PROBLEMS.items()}
    assert not vectors["sparse"][0].any()
    assert 0 < np.count_nonzero(vectors["sparse"]) < vectors["sparse"].size / 2
    assert np.abs(vectors["tiny"]).max() < 1e-28
    assert np.abs(vectors["huge"]).max() > 1e29
    assert (np.sign(vectors["sign_flips"][1:]) == -np.sign(vectors["sign_flips"][:-1])).all()
    assert (vectors["constant"] == vectors["constant"][0]).all()
    assert np.abs(vectors["heavy_tailed"]).max() > 2 * np.abs(vectors["normal"]).max()
    assert [gradient["matrix"] is None for gradient in PROBLEMS["skipped"].gradients] == [False, True] * 3
    for leaf in ("matrix", "scalar"):
        assert [gradient[leaf] is None for gradient in PROBLEMS["late"].gradients] == [True] * 2 + [False] * 4
    spoiled = [[np.isfinite(g).all() for g in uniopt.tree.leaves(gradient)] for gradient in SPOILED.gradients]
    assert [all(finite) for finite in spoiled] == [True, False, False, True]
    assert {name for name, p in PROBLEMS.items() if p.skips} == {"skipped", "late"}
    assert not paired(PROBLEMS["normal"]).skips
    assert all(np.abs(x.imag).min() > 0 for x in uniopt.tree.leaves((COMPLEX.params, COMPLEX.gradients)))
    assert COMPLEX.is_complex
    assert not any(problem.is_complex for problem in (*PROBLEMS.values(), *OBJECTIVES.values()))


def test_a_problem_is_the_same_every_time() -> None:
    def stream(rng: np.random.Generator, step: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(rng.standard_normal(shape))

    first, again = PROBLEMS["normal"], recorded("again", stream)
    for a, b in zip((again.params, *again.gradients), (first.params, *first.gradients), strict=True):
        for x, y in zip(uniopt.tree.leaves(a), uniopt.tree.leaves(b), strict=True):
            np.testing.assert_array_equal(x, y)
