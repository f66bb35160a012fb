"""Recordings as graphs for torch.compile, by which steps run on devices that no kernels are made for.

No such device is needed: the graphs run on the CPU here, operation by operation where that is all that matters, by
torch's tracing compiler, or by inductor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from uniopt.backends.fusion.step import FusedStep
from uniopt.backends.torch import TorchBackend
from uniopt.backends.torch.graph import GraphProgram, compiled
from uniopt.backends.torch.memory import DeviceMemory
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.test_fallback import Slots, branch, check_warning, init, run
from tests.fusion.test_user_rules import ELEMENTWISE, REDUCING, transformation, tree_of
from tests.fusion.walks import build, gradients, in_torch, normal, objective, odd_tree
from tests.properties.error_unit import ulps
from uniopt.errors import EagerStepWarning

CPU = torch.device("cpu")


class Two(NamedTuple):
    m: Any
    n: Any


class Compiler:
    """A backend of torch.compile that keeps what it was given."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)  # type: ignore[no-any-return]


def on_graphs(patch: pytest.MonkeyPatch, compile: Callable[..., Any]) -> None:
    """Let torch's steps on the CPU run as those on a device that no kernels are made for."""

    def compile_step(backend: Any, step: Any, *, donate: bool, parameters: Any) -> FusedStep:
        program = partial(GraphProgram, xp=backend.xp, device=CPU, compile=compile)
        return FusedStep(step, DeviceMemory(CPU), donate=donate, parameters=parameters, program=program)

    patch.setattr(TorchBackend, "compile_step", compile_step)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    on_graphs(monkeypatch, lambda graph: graph)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler()
    on_graphs(monkeypatch, partial(torch.compile, fullgraph=True, dynamic=False, backend=found))
    return found


@pytest.fixture
def inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    on_graphs(monkeypatch, compiled)


def host(tree: Any) -> list[Any]:
    """Return copies of the leaves in NumPy, 16-bit ones in float32, integers in float64."""
    leaves = [x.detach().clone() for x in uniopt.tree.leaves(tree)]
    leaves = [x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in leaves]
    return [(x if x.is_floating_point() or x.is_complex() else x.double()).numpy() for x in leaves]


def check(
    tx: uniopt.GradientTransformation,
    params: Any,
    stream: list[Any],
    bound: float = 4.0,
    change: Callable[[int, Any], Any] = lambda k, state: state,
) -> None:
    """Fail unless compiled steps go where eager ones go, and write into what they are given."""
    given, step = uniopt.tree.map(torch.clone, params), uniopt.compile(tx)
    expected_state, state = tx.init(params), tx.init(given)
    places = [x.data_ptr() for x in uniopt.tree.leaves(given)]
    found, expected = [host((given, state))], [host((params, expected_state))]
    for k, grads in enumerate(stream):
        expected_state, state = change(k, expected_state), change(k, state)
        updates, expected_state = tx.update(grads, expected_state, params, value=objective(k))
        params = uniopt.apply_updates(params, updates)
        after, state = step(grads, state, given, value=objective(k))
        for path, x in uniopt.tree.leaves_with_paths((after, state), ""):
            y = dict(uniopt.tree.leaves_with_paths((params, expected_state), ""))[path]
            assert (x.dtype, x.shape) == (y.dtype, y.shape), path
        for x, y in zip(uniopt.tree.leaves(after), uniopt.tree.leaves(given), strict=True):
            assert x is y
        found.append(host((after, state)))
        expected.append(host((params, expected_state)))
    assert [x.data_ptr() for x in uniopt.tree.leaves(given)] == places
    assert ulps(found, expected).value <= bound


def problem(seed: str, dtype: str = "float32", steps: int = 4) -> tuple[Any, list[Any]]:
    return in_torch(odd_tree(normal(seed, dtype))), [in_torch(g) for g in gradients(seed, dtype, steps)]


def without(stream: list[Any]) -> list[Any]:
    """Return gradients of which some are missing, others in each step."""
    for k, grads in enumerate(stream):
        if k % 2:
            grads["kernel"][0] = None
        if k >= 2:
            grads["scalar"] = None
    return stream


def with_nan(stream: list[Any]) -> list[Any]:
    stream[1]["matrix"][0, 0] = torch.nan
    return stream


def another_rate(k: int, state: Any) -> Any:
    return uniopt.tree_set(state, learning_rate=torch.tensor(0.1 / (1 + k))) if k else state


WRAPPED: dict[str, Callable[[], uniopt.GradientTransformation]] = {
    "clip_by_global_norm": lambda: uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adam(0.01)),
    "apply_if_finite": lambda: uniopt.apply_if_finite(uniopt.adam(0.01), 3),
    "MultiSteps": lambda: uniopt.MultiSteps(uniopt.adam(0.01), 2),
    "inject_hyperparams": lambda: uniopt.inject_hyperparams(uniopt.adamw)(learning_rate=0.1),
    "schedule": lambda: uniopt.sgd(uniopt.cosine_decay_schedule(0.1, 3), momentum=0.9, nesterov=True),
    "a tensor as learning rate": lambda: uniopt.adam(torch.tensor(0.01)),
}
CHANGES: dict[str, Any] = {"inject_hyperparams": another_rate}
STREAMS: dict[str, Any] = {"apply_if_finite": with_nan}
NAMES = ("adamw", "lion", "lamb", "adafactor", "muon", "sgd")


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", SETTINGS)
def test_every_optimizer_becomes_a_graph(name: str) -> None:
    for setting in SETTINGS[name]:
        check(build(name, setting), *problem(name))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", [*ELEMENTWISE, *REDUCING])
def test_rules_that_nobody_here_wrote(name: str, dtype: str) -> None:
    make = normal(name, dtype)
    params, stream = in_torch(tree_of(make)), [in_torch(tree_of(make)) for _ in range(3)]
    check(transformation({**ELEMENTWISE, **REDUCING}[name]), params, stream)


@pytest.mark.usefixtures("uncompiled")
def test_numbers_promote_as_in_every_compiled_step() -> None:
    """In torch itself, a 0-d array of float64 among others of float32 is rounded first."""

    def rule(xp: Any, g: Any, s: Any) -> Any:
        exact = g * (xp.astype(xp.max(g), xp.float64) / 3)
        return xp.astype(exact - xp.astype(xp.astype(exact, xp.float32), xp.float64), xp.float32), s

    tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
    grads = normal("numbers", "float32")(7)
    expected, _ = tx.update(grads, tx.init(grads))
    (found,), _ = uniopt.compile(tx)([torch.from_numpy(grads)], tx.init([torch.zeros(7)]), [torch.zeros(7)])
    assert found.count_nonzero() == 7
    assert ulps([[found.numpy()]], [[expected]]).value <= 4


@pytest.mark.usefixtures("uncompiled")
def test_the_sign_of_nan() -> None:
    params, tx = [torch.zeros(3)], uniopt.sign_sgd(1.0)
    (after,), _ = uniopt.compile(tx)([torch.tensor([torch.nan, 2.0, 0.0])], tx.init(params), params)
    assert str(after.tolist()) == "[nan, -1.0, 0.0]"


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_dtypes(name: str, dtype: str) -> None:
    check(build(name), *problem(name, dtype))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("way", WRAPPED)
def test_wrapped(way: str) -> None:
    params, stream = problem(way)
    check(WRAPPED[way](), params, STREAMS.get(way, list)(stream), change=CHANGES.get(way, lambda k, state: state))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("name", NAMES)
def test_torch_traces_optimizers(name: str) -> None:
    params, stream = problem(name, steps=3)
    check(build(name), params, without(stream) if name == "lamb" else stream)


@pytest.mark.parametrize("way", WRAPPED)
def test_torch_traces_what_is_wrapped_around_them(compiler: Compiler, way: str) -> None:
    params, stream = problem(way, steps=3)
    check(WRAPPED[way](), params, STREAMS.get(way, list)(stream), change=CHANGES.get(way, lambda k, state: state))
    assert len(compiler.graphs) == 1


@pytest.mark.wide
@pytest.mark.usefixtures("inductor")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, while inductor is imported
@pytest.mark.parametrize("name", NAMES)
def test_inductor_compiles_optimizers(name: str) -> None:
    params, stream = problem(name)
    check(build(name), params, stream if name == "muon" else without(stream))


@pytest.mark.wide
@pytest.mark.usefixtures("inductor")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("way", WRAPPED)
def test_inductor_compiles_what_is_wrapped_around_them(way: str) -> None:
    params, stream = problem(way)
    check(WRAPPED[way](), params, STREAMS.get(way, list)(stream), change=CHANGES.get(way, lambda k, state: state))


@pytest.mark.wide
@pytest.mark.usefixtures("inductor")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_inductor_rounds_as_memory_does(dtype: str) -> None:
    tx = uniopt.chain(uniopt.adamw(0.01), uniopt.kahan_summation())
    check(tx, *problem("rounding", dtype), bound=0.0)


@pytest.mark.wide
@pytest.mark.usefixtures("inductor")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_inductor_writes_where_it_computes() -> None:
    params = [torch.ones(64, 3), torch.ones(5)]
    grads, tx = [torch.ones(64, 3), torch.ones(5)], uniopt.adamw(0.1)
    step, state = uniopt.compile(tx), tx.init(params)
    _, (code,) = torch._inductor.utils.run_and_get_code(step, grads, state, params)
    kernels = [line for line in code.splitlines() if "async_compile.cpp_pybinding" in line]
    assert len(kernels) == 1, kernels
    assert "empty_strided_cpu(" not in code  # no memory of its own
    assert "aten.copy_" not in code


# What is written, and what is compiled anew


def test_what_is_compiled_anew(compiler: Compiler) -> None:
    """Other missing gradients make another graph; other values and gradient tracking do not."""
    tx = uniopt.inject_hyperparams(uniopt.adamw)(learning_rate=0.1)
    make = normal("anew", "float32")
    params, grads = in_torch([make(3), make(2, 2)]), in_torch([make(3), make(2, 2)])
    state, step = tx.init(params), uniopt.compile(tx)
    for k in range(3):
        state = another_rate(k, state)
        params, state = step(grads, state, params)
    with torch.no_grad():
        params, state = step(grads, state, params)
    params, state = step([grads[0].clone().requires_grad_(), grads[1]], state, params)
    assert len(compiler.graphs) == 1
    params, state = step([grads[0], None], state, params)
    params, state = step(grads, state, params)
    params, state = step([2 * grads[0], None], state, params)
    assert len(compiler.graphs) == 2


def test_any_number_of_steps_is_compiled(compiler: Compiler) -> None:
    """torch.compile gives up on a function that it has compiled eight times."""
    for k in range(2 + torch._dynamo.config.recompile_limit):
        params, tx = [torch.ones(k + 1)], uniopt.sgd(0.5)
        uniopt.compile(tx)([torch.ones(k + 1)], tx.init(params), params)
        assert params[0].tolist() == [0.5] * (k + 1)
    assert len(compiler.graphs) == k + 1


@pytest.mark.usefixtures("compiler")
def test_parameters_stay_and_autograd_sees_the_writing() -> None:
    weight, tx = torch.nn.Parameter(torch.ones(3)), uniopt.sgd(0.5, momentum=0.9)
    state, step = tx.init([weight]), uniopt.compile(tx)
    loss = torch.sum(weight * weight)
    place, version = weight.data_ptr(), weight._version
    trace = uniopt.tree.leaves(state)[0]
    (after,), after_state = step([torch.ones(3)], state, [weight])
    assert after is weight
    assert uniopt.tree.leaves(after_state)[0] is trace
    assert weight.data_ptr() == place
    assert weight.requires_grad
    assert weight._version > version
    assert weight.tolist() == [0.5] * 3
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.usefixtures("compiler")
def test_without_donation() -> None:
    params, tx = [torch.ones(3)], uniopt.sgd(0.5, momentum=0.9)
    state = tx.init(params)
    after, after_state = uniopt.compile(tx, donate=False)([torch.ones(3)], state, params)
    assert after[0].tolist() == [0.5] * 3
    assert params[0].tolist() == [1.0] * 3
    assert [x.tolist() for x in uniopt.tree.leaves(state)] == [[0.0] * 3]
    assert [x.tolist() for x in uniopt.tree.leaves(after_state)] == [[1.0] * 3]


@pytest.mark.usefixtures("compiler")
def test_everything_is_read_before_anything_is_written() -> None:
    def exchanged(xp: Any, g: Any, s: Any, *, p: Any) -> Any:
        return s.m - p, s._replace(m=p)

    def turned(xp: Any, g: Any, s: Any, *, p: Any) -> Any:
        return -g, s._replace(m=xp.flip(p))

    def swapped(xp: Any, g: Any, s: Any) -> Any:
        return -g, s._replace(m=s.n, n=s.m)

    tx = uniopt.leafwise(Two, lambda xp, p: {"m": p + 1, "n": p + 2}, swapped)
    _, state = uniopt.compile(tx)([torch.ones(1)], tx.init([torch.zeros(1)]), [torch.zeros(1)])
    assert (state.m[0].tolist(), state.n[0].tolist()) == ([2.0], [1.0])
    for rule, moved, held in ((exchanged, [2.0, 4.0], [1.0, 2.0]), (turned, [0.0, 1.0], [2.0, 1.0])):
        tx = uniopt.leafwise(Slots, lambda xp, p: {"m": 2 * p}, rule)
        params = [torch.tensor([1.0, 2.0])]
        (after,), state = uniopt.compile(tx)([torch.ones(2)], tx.init(params), params)
        assert after is params[0]
        assert after.tolist() == moved
        assert state.m[0].tolist() == held


@pytest.mark.usefixtures("compiler")
def test_memory_that_is_shared() -> None:
    whole = torch.tensor([1.0, 2.0, 3.0])
    tx = uniopt.sgd(0.5, momentum=0.5)
    params = [whole[:2]]
    state, step = tx.init(params), uniopt.compile(tx)
    (after,), state = step([torch.ones(2)], state, params)
    assert after.tolist() == [0.5, 1.5]
    (after,), state = step([whole[1:]], state, params)  # the gradient is [1.5, 3.0], of which the step overwrites 1.5
    assert after.tolist() == [0.5 - 0.5 * 2.0, 1.5 - 0.5 * 3.5]
    params = [whole, whole]
    after, _ = step([torch.ones(3), torch.zeros(3)], tx.init(params), params)
    assert after[0] is whole
    assert after[1] is not whole
    assert after[1].tolist() == [-0.5, -0.25, 3.0]
    assert after[0].tolist() == [-1.0, -0.75, 2.5]


# What cannot be compiled


def failing(graph: Any, inputs: Any) -> Any:
    raise OSError("no compiler here\nthat is all")


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    on_graphs(monkeypatch, partial(torch.compile, fullgraph=True, backend=failing))
    params = [torch.ones(3)]
    (after, _), caught = run(uniopt.sgd(0.5), params, [[torch.ones(3)]] * 2)
    assert after[0] is params[0]
    assert after[0].tolist() == [0.0] * 3
    assert [(x.category, x.filename) for x in caught] == [(EagerStepWarning, run.__code__.co_filename)]
    assert "torch.compile failed (OSError: no compiler here). Steps are compiled" in str(caught[0].message)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_inductor_without_a_cpp_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    on_graphs(monkeypatch, compiled)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # it may have been compiled before
    params = [torch.ones(3)]
    with torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "missing"))}):
        (after, _), caught = run(uniopt.sgd(0.5), params, [[torch.ones(3)]] * 2)
    assert after[0].tolist() == [0.0] * 3
    (message,) = [str(x.message) for x in caught if x.category is EagerStepWarning]
    assert "InvalidCxxCompiler" in message


@pytest.mark.usefixtures("compiler")
def test_a_branch_on_an_array() -> None:
    (after, _), caught = run(uniopt.leafwise(Slots, init, branch), [torch.zeros(3)], [[torch.ones(3)]] * 2)
    check_warning(caught, branch, "a Python branch")
    assert after[0].tolist() == [-2.0] * 3


@pytest.mark.usefixtures("uncompiled")
def test_steps_of_slices_that_torch_has_not() -> None:
    """The error is torch's own, as that of the eager step."""
    tx = uniopt.leafwise(Slots, init, lambda xp, g, s: (xp.concat([g[::-2], g[:1]]), s))
    with pytest.raises(ValueError, match="step must be greater than zero"):
        run(tx, [torch.zeros(3)], [[torch.ones(3)]])


def test_a_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()

    class Narrow(DeviceMemory):
        has_float64 = False

    def program(schedule: Any, inputs: Any, *args: Any) -> GraphProgram:
        seen.update(x.dtype for x in (*schedule.needed, *inputs))
        return GraphProgram(schedule, inputs, *args, xp=TorchBackend.xp, device=CPU, compile=lambda graph: graph)

    monkeypatch.setattr(TorchBackend, "has_float64", lambda self, like: False)
    monkeypatch.setattr(
        TorchBackend,
        "compile_step",
        lambda self, step, **options: FusedStep(step, Narrow(CPU), program=program, **options),
    )
    for way in ("clip_by_global_norm", "schedule", "MultiSteps"):
        check(WRAPPED[way](), *problem(way))
    check(build("adafactor"), *problem("adafactor"))
    check(uniopt.noisy_sgd(0.1), *problem("noise"))
    assert "float32" in seen
    assert "float64" not in seen
