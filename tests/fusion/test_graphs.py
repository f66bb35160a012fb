"""Recordings as graphs for torch.compile, by which steps run on devices that no kernels are made for.

No such device is needed: the graphs run on the CPU here, operation by operation where that is all that matters, by
torch's tracing compiler, or by inductor.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from uniopt.backends.fusion.step import FusedStep
from uniopt.backends.torch import TorchBackend
from uniopt.backends.torch.graph import GraphProgram
from uniopt.backends.torch.memory import DeviceMemory
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.graphs import CHANGES, CPU, NAMES, STREAMS, WRAPPED, Compiler, check, problem, without
from tests.fusion.rules import ELEMENTWISE, REDUCING, transformation, tree_of
from tests.fusion.test_missing_gradients import GATHERING, case
from tests.fusion.walks import build, in_torch, normal
from tests.properties.error_unit import ulps


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


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", [*GATHERING, "MultiSteps", "dpsgd", "mechanize", "muon", "torch's Adam"])
def test_missing_gradients(name: str, recordings: list[int]) -> None:
    """No pattern is recorded, after both sides of conditions have been met with and without them."""
    tx, params, stream = case(name)
    found = []
    for steps in (7, len(stream)):
        recordings.clear()
        check(tx, in_torch(params), [in_torch(g) for g in stream[:steps]])
        found.append(len(recordings))
    assert found[0] == found[1] > 0


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
