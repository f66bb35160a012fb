"""Walking a case on one library: the parameters after every step, and what was seen on the way."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from uniopt.backends.dtypes import dtype_name
from uniopt.conformance.cases import Case
from uniopt.conformance.ground import Ground, same_bits
from uniopt.conformance.problems import Problem, Values
from uniopt.conformance.programs import Compiled, Eager, Traced, Vectorized

from uniopt import tree
from uniopt.typing import Tree

PROPERTIES = {
    "leaves": "parameters keep their type, data type, shape and device; updates have those of the parameters",
    "inputs": "gradients, state and parameters that are passed in are not written to",
    "state": "the state keeps its structure, types, data types, shapes and devices",
    "resume": "going on from a pickled transformation and a rebuilt state gives the same bits (eager)",
    "compilations": "one compilation serves all steps (traced, scan)",
}
"""What a walk looks at besides the numbers."""

Settle = Callable[[Tree], Tree]


@dataclass
class Walk:
    """What came of a walk.

    Attributes
    ----------
    trajectory
        The leaves of what is observed, which is mostly the parameters, before the first step and after each one.
    properties
        For each property that was looked at, the first thing that was wrong, or the empty string.
    compilations
        How often the step was compiled; None where it is not.
    """

    trajectory: list[list[Values | None]]
    properties: dict[str, str] = field(default_factory=dict)
    compilations: int | None = None

    def expect(self, name: str, wrong: str) -> None:
        """Note that a property was looked at, and what is wrong with it, if anything."""
        self.properties[name] = self.properties.get(name) or wrong


def walk(case: Case, ground: Ground, mode: str = "eager", setup: ModuleType | None = None) -> Walk:
    """Return what a case does on a library.

    Parameters
    ----------
    case
        The optimizer, its hyperparameters and the problem.
    ground
        Where to compute.
    mode
        One of `uniopt.conformance.cells.MODES`.
    setup
        What the suite has for the library: see `uniopt.conformance.peers`.
    """
    tx = case.transformation()
    if mode == "scan":
        return _scanned(case, ground, tx, setup.scan)  # type: ignore[union-attr]  # else it has no such mode
    settle: Settle = getattr(setup, "settle", lambda x: x)
    problem, init, observe, step = case.problem, tx.init, case.observe, _program(case, ground, mode, tx, setup)
    if mode == "vmap":
        problem, init = _stacked(problem), step.init
        observe = partial(step.each, case.observe)
    params = ground.put(problem.params)
    state = init(params)
    result = Walk([ground.read(observe(state, params))])
    steps = problem.steps
    for t in range(1, steps + 1):
        value, gradient = problem.at(t - 1, ground.read(params))
        given = (ground.put(gradient), *tree.map(ground.treat, (state, params)))
        before = ground.read(given)
        updates, state, params = settle(step(*given, ground.number(value)))
        result.trajectory.append(ground.read(observe(state, params)))
        result.expect("inputs", "" if same_bits(before, ground.read(given)) else f"written to in step {t}")
        result.expect("leaves", _changed(ground, given[2], params, "params", t))
        result.expect("leaves", _unlike(ground, params, updates, t, case.widens))
        result.expect("state", _changed(ground, given[1], state, "state", t))
        if t == steps // 2 and mode == "eager":
            saved = step.checkpoint(), _save(ground, state, params)
    if mode == "traced":
        result.compilations = made = step.compilations()
        result.expect("compilations", "" if made == 1 else f"{made} compilations for {steps} steps")
    elif mode == "eager":
        result.expect("resume", _resume(ground, case, saved, result.trajectory, settle))
    return result


def _program(case: Case, ground: Ground, mode: str, tx: Any, setup: ModuleType | None) -> Any:
    match mode:
        case "traced":
            return Traced(tx, ground.backend, getattr(setup, "compilations", None))
        case "compiled":
            return Compiled(tx)
        case "vmap":
            return Vectorized(tx, setup.vmap)  # type: ignore[union-attr]  # else it has no such mode
    return case.program(tx)


def _stacked(problem: Problem) -> Problem:
    """Return the batch of a problem as one, whose arrays have an axis for its members first."""
    members = problem.batch()
    params = _stack([member.params for member in members])
    gradients = tuple(_stack(list(step)) for step in zip(*(member.gradients for member in members), strict=True))
    return replace(problem, params=params, gradients=gradients)


def _stack(trees: list[Tree]) -> Tree:
    return tree.map(lambda *leaves: np.stack(leaves), *trees)


def _scanned(case: Case, ground: Ground, tx: Any, scan: Callable[..., Any]) -> Walk:
    """Return what a case does where the library's own loop takes the steps."""
    step, traces = Eager(tx), 0

    def body(carry: Tree, given: Tree) -> Tree:
        nonlocal traces
        traces += 1
        (gradient, value), (state, params) = given, carry
        updates, state, params = step(gradient, state, params, value)
        return (state, params), (case.observe(state, params), updates)

    params = ground.put(case.problem.params)
    state = tx.init(params)
    result = Walk([ground.read(case.observe(state, params))])
    given = ground.put((_stack(list(case.problem.gradients)), np.asarray(case.problem.values)))
    after, (seen, updates) = scan(body, (state, params), given)
    steps = case.problem.steps
    recorded = ground.read(seen)
    result.trajectory += [[None if x is None else np.asarray(x[t]) for x in recorded] for t in range(steps)]
    result.compilations = traces
    result.expect("compilations", "" if traces == 1 else f"{traces} compilations for {steps} steps")
    result.expect("state", _changed(ground, state, after[0], "state", steps))
    result.expect("leaves", _changed(ground, params, after[1], "params", steps))
    result.expect("leaves", _unlike(ground, params, tree.map(lambda u: u[-1], updates), steps, case.widens))
    return result


def _changed(ground: Ground, old: Tree, new: Tree, name: str, t: int) -> str:
    """Return what has changed from one step to the next besides the values."""
    before, after = (
        {path: ground.outline(x) for path, x in tree.leaves_with_paths(values, name)} for values in (old, new)
    )
    for path in before | after:
        if before.get(path) != after.get(path):
            return f"{path} was {_spoken(before.get(path))}, and {_spoken(after.get(path))} after step {t}"
    return ""


def _unlike(ground: Ground, params: Tree, updates: Tree, t: int, widens: bool) -> str:
    """Return which update is not of its parameter's data type (or float32, of 16 bits, if it `widens`) and so on."""
    dtype = "float32" if widens and ground.dtype in ("bfloat16", "float16") else ground.dtype
    expected = {path: (dtype, *ground.outline(p)[2:]) for path, p in tree.leaves_with_paths(params, "")}
    for path, u in tree.leaves_with_paths(updates, ""):
        if (found := ground.outline(u)[1:]) != expected.get(path):
            return f"updates{path} is {found} in step {t}, its parameter {expected.get(path)}"
    return ""


def _spoken(outline: tuple[Any, ...] | None) -> str:
    if outline is None:
        return "absent"
    kind, dtype, shape, device = outline
    return f"a {kind.__name__} of {dtype}, shape {shape}, on {device}"


def _save(ground: Ground, state: Tree, params: Tree) -> bytes:
    """Return state and parameters in NumPy, pickled."""
    values = tree.map(ground.backend.to_numpy, (state, params))
    dtypes = tree.map(lambda x: dtype_name(x.dtype), (state, params))
    return pickle.dumps((values, dtypes))


def _resume(
    ground: Ground,
    case: Case,
    saved: tuple[Callable[[], Any], bytes],
    trajectory: list[list[Values | None]],
    settle: Settle,
) -> str:
    """Return where a run that goes on from what was saved departs from the uninterrupted one."""
    again, kept = saved
    state, params = ground.restore(*pickle.loads(kept))
    step = again()
    steps = case.problem.steps
    for t in range(steps // 2, steps):
        value, gradient = case.problem.at(t, ground.read(params))
        _, state, params = settle(step(ground.put(gradient), state, params, ground.number(value)))
        if not same_bits(ground.read(case.observe(state, params)), trajectory[t + 1]):
            return f"differs from the uninterrupted run in step {t + 1}"
    return ""
