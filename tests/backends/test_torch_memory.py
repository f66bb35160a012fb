"""Tensors as compiled steps see them: where they lie, and whether they can be written to."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from uniopt.backends import torch as shim
from uniopt.backends.torch.graph import GraphProgram
from uniopt.backends.torch.memory import (
    CudaMemory,
    CudaShardMemory,
    DeviceMemory,
    MetalMemory,
    ShardMemory,
    TorchMemory,
)

import uniopt

META = torch.device("meta")
CUDA = torch.device("cuda", 0)
MEMORY = TorchMemory()


def elsewhere(device: torch.device) -> Any:
    return SimpleNamespace(device=device, layout=torch.strided)


def test_which_arrays_are_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MEMORY.holds(torch.ones(1))
    assert not MEMORY.holds(np.ones(1))
    assert MEMORY.out_of_reach(torch.ones(1)) is None
    assert MEMORY.out_of_reach(torch.eye(2).to_sparse()) == "a tensor with layout torch.sparse_coo"
    asked: list[str] = []
    for reason in ("no driver", None):
        monkeypatch.setattr(shim.memory, "why_unavailable", lambda name, reason=reason: asked.append(name) or reason)
        assert MEMORY.out_of_reach(torch.ones(1, device=META)) == "a tensor on meta"
        assert MEMORY.out_of_reach(elsewhere(CUDA)) == "a tensor on cuda:0" + (" (no driver)" if reason else "")
    assert asked == ["cupy", "cupy"]


def test_tensors_of_one_cuda_device_are_in_its_reach() -> None:
    memory = CudaMemory(META)
    assert memory.out_of_reach(torch.ones(1, device=META)) is None
    assert memory.out_of_reach(torch.ones(1)) == "tensors on several devices, meta and cpu"
    sparse = SimpleNamespace(device=META, layout=torch.sparse_coo)
    assert memory.out_of_reach(sparse) == "a tensor with layout torch.sparse_coo"


def test_storages_of_metal_lie_apart() -> None:
    """Their pointers are those of objects, of which many have room in the length of one storage."""
    memory = MetalMemory(torch.device("mps", 0))
    assert not memory.has_float64
    whole, other = torch.ones(4, 6), torch.ones(4, 6)
    start, elsewhere = memory.addresses([whole, other])
    assert memory.addresses([other, whole[1:], whole.T]) == [elsewhere, start + 24, start]
    assert memory.extent(whole) == (start, start + 96)
    assert memory.extent(whole[1:3, 1::2]) == (start + 28, start + 72)
    assert memory.extent(whole[:, :0]) == (start, start)
    assert abs(elsewhere - start) > 1 << 39


def test_cupy_sees_bfloat16_as_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uniopt.backends.cupy", SimpleNamespace(view_of=lambda *given: given))
    memory = CudaMemory(torch.device("cpu"))
    for x in (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.bfloat16, requires_grad=True)):
        seen, *dtype = memory.view(x)
        assert not seen.requires_grad
        assert seen.data_ptr() == x.data_ptr()
        half = x.dtype == torch.bfloat16
        assert (seen.dtype, dtype) == ((torch.int16, ["uint16"]) if half else (torch.float32, []))


def test_views_are_resolved() -> None:
    x, z = torch.ones(2), torch.tensor([1.0 + 2.0j])
    given = [x, z]
    assert MEMORY.resolved(given) is given
    for view, expected in ((z.conj(), [1.0 - 2.0j]), (z.conj().imag, [-2.0])):
        for others in ([x], [None, x], [x, "no array"]):
            *rest, found = MEMORY.resolved([*others, view])
            assert all(a is b for a, b in zip(rest, others, strict=True))
            assert not found.is_conj()
            assert not found.is_neg()
            np.testing.assert_array_equal(found.numpy(), expected)


def test_nothing_is_recorded_for_gradients() -> None:
    x = torch.ones(1, requires_grad=True)
    with MEMORY.untracked():
        assert not (2 * x).requires_grad


def test_what_decides_about_a_program() -> None:
    x = torch.ones(2, 3)
    first = MEMORY.signatures([x])
    assert hash(first) == hash(MEMORY.signatures([torch.zeros(2, 3)]))
    assert first == MEMORY.signatures([torch.zeros(2, 3)])
    for other in (torch.ones(3, 2), torch.ones(3, 2).T, x.double(), x.to(META)):
        assert first != MEMORY.signatures([other])
    both = MEMORY.signatures([x, x.double()])
    assert both == MEMORY.signatures([torch.zeros(2, 3), torch.zeros(2, 3).double()])
    assert both not in (first, MEMORY.signatures([x.double(), x]), MEMORY.signatures([x, x.double().T]))
    assert MEMORY.congruent([x, None], [x.double()], {0: 0})
    assert (MEMORY.shape(x), MEMORY.whole_shape(x), MEMORY.dtype(x)) == ((2, 3), (2, 3), "float32")
    assert not TorchMemory.sharded
    assert ShardMemory.sharded
    assert MEMORY.threads() == torch.get_num_threads()


def test_what_moves_a_tensor_that_is_held() -> None:
    for move in (
        lambda x: setattr(x, "data", x.data.clone()),
        lambda x: setattr(x, "data", x.data.view(torch.int32)),
        lambda x: x.t_(),
        lambda x: x.resize_(2, 2),
        lambda x: setattr(x, "data", x.data.as_strided((2, 3), (1, 2))),
    ):
        x = torch.ones(2, 3)
        before = MEMORY.places([x])
        assert MEMORY.places([x]) == before
        move(x)
        assert MEMORY.places([x]) != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.bfloat16])
def test_where_tensors_lie(dtype: torch.dtype) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6).to(dtype)
    start = whole.data_ptr()
    assert MEMORY.addresses([whole, whole[1:]]) == [start, start + 6 * whole.itemsize]
    for part in (whole, whole[1:3, ::2], whole.T[2:], whole[2, 1], whole[::3, 5]):
        seen = MEMORY.view(part)
        assert MEMORY.strides(part) == seen.strides
        assert MEMORY.extent(part) == np.lib.array_utils.byte_bounds(seen)
        assert seen.shape == part.shape
        assert (seen.dtype == np.uint16) == (dtype == torch.bfloat16)
    nothing = whole[:, :0]
    assert MEMORY.extent(nothing) == (nothing.data_ptr(), nothing.data_ptr())
    assert MEMORY.view(whole.requires_grad_()).ctypes.data == start


def test_copies_and_assignments() -> None:
    x = torch.ones(2, requires_grad=True)
    copy = MEMORY.copy(x)
    assert not copy.requires_grad
    MEMORY.assign(copy, torch.tensor([2.0, 3.0]))
    np.testing.assert_array_equal(copy.numpy(), [2.0, 3.0])
    np.testing.assert_array_equal(x.detach().numpy(), [1.0, 1.0])
    assert MEMORY.replaces(copy, x)
    for other in (copy[:1], copy.double(), 1.0):
        assert not MEMORY.replaces(other, x)


def test_what_cannot_be_written_to() -> None:
    z = torch.tensor([1.0 + 2.0j])
    for view in (z.conj(), z.conj().imag):
        assert MEMORY.refusal(view) == "shows the memory of another tensor, conjugated or negated"
    assert MEMORY.refusal(torch.ones(1).expand(3)) == "has elements that share memory (it was expanded)"
    assert MEMORY.refusal(torch.ones(3)[::2]) is None


def test_torch_is_told_of_what_is_written() -> None:
    with torch.inference_mode():
        free = torch.ones(1)
    x, y = torch.ones(1), torch.ones(1)
    watched = MEMORY.watched([x, free])
    assert len(watched) == 1
    assert watched[0] is x
    versions = x._version, y._version
    MEMORY.written(watched)
    assert (x._version, y._version) == (versions[0] + 1, versions[1])


def test_a_parameter_whose_data_were_replaced_is_updated_where_they_are_now() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    tx = uniopt.sgd(0.5)
    step, state, held = uniopt.compile(tx), tx.init([parameter]), []
    for value in (1.0, 5.0):
        held.append(parameter.data)  # memory that is given back would be somebody else's
        parameter.data = torch.full((2,), value)
        (after,), state = step([torch.ones(2)], state, [parameter])
        assert after is parameter
        np.testing.assert_array_equal(parameter.detach().numpy(), [value - 0.5] * 2)


class OnCuda(torch.Tensor):
    """A tensor that says that it is on a CUDA device."""

    device = property(lambda self: CUDA)  # type: ignore[assignment]  # torch's is a property of C


class OnMps(torch.Tensor):
    """A tensor that says that it is on Apple's GPU."""

    device = property(lambda self: torch.device("mps", 0))  # type: ignore[assignment]  # torch's is a property of C


class ShardOnCuda(OnCuda):
    """A DTensor as far as it is asked."""

    placements = ()


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("reason", ["no driver", None])
def test_steps_on_cuda_run_by_cupy_in_torchs_stream(
    monkeypatch: pytest.MonkeyPatch, reason: str | None, donate: bool
) -> None:
    """The device is a stand-in: what is asked of it is noted."""
    events: list[Any] = []

    class Context:
        def __init__(self, *what: Any) -> None:
            self.what = what

        def __enter__(self) -> None:
            events.append(self.what)

        def __exit__(self, *_: Any) -> None:
            events.append("left")

    class Fused:
        def __init__(self, step: Any, memory: Any, **options: Any) -> None:
            self.memory = memory
            events.append(("made", step, options))

        def again(self, kept: list[Any], donated: list[Any]) -> None:
            """Be no step that was taken before."""

        def __call__(self, kept: list[Any], donated: list[Any]) -> Any:
            events.append("ran")
            return self.memory, kept, donated

    stand_in = SimpleNamespace(
        programs_on=lambda index: ("programs", index), stream_of=lambda *what: Context("stream", *what)
    )
    monkeypatch.setitem(sys.modules, "uniopt.backends.cupy", stand_in)
    monkeypatch.setitem(sys.modules, "uniopt.backends.fusion.step", SimpleNamespace(FusedStep=Fused))
    monkeypatch.setattr(shim, "why_unavailable", lambda name: reason if name == "cupy" else "another library")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=(device, 7)))
    monkeypatch.setattr(torch.cuda, "device", lambda device: Context("device", device))

    def plain(kept: list[Any], donated: list[Any]) -> list[Any]:
        return donated

    step = uniopt.backends.get("torch").compile_step(plain, donate=donate, parameters={0: 0})
    options: dict[str, Any] = {"donate": donate, "parameters": {0: 0}}
    p = torch.ones(1).as_subclass(OnCuda)
    for kept in ([None], [p]):  # of other types, but for the same device
        memory, *given = step(kept, [p])
        assert given == [kept, [p]]
        assert type(memory) is (CudaMemory if reason is None else DeviceMemory)
    run = [("device", CUDA), ("stream", 0, (CUDA, 7)), "ran", "left", "left"]
    assert memory._device == CUDA
    if reason is None:
        options["program"] = ("programs", 0)
    else:  # by torch.compile
        program = events[0][2].pop("program")
        assert (program.func, program.keywords["device"]) == (GraphProgram, CUDA)
    assert events == [("made", plain, options), *(run if reason is None else ["ran"]) * 2]
    memory, *_ = step([None], [torch.ones(1).as_subclass(ShardOnCuda)])
    assert type(memory) is (CudaShardMemory if reason is None else ShardMemory)
    memory, *_ = step([None], [torch.ones(1).as_subclass(OnMps)])
    assert type(memory) is MetalMemory
    memory, *_ = step([None], [torch.ones(1, device=META)])  # there is nothing to compute
    assert type(memory) is TorchMemory
    memory, *_ = step([None], [torch.ones(1)])
    assert type(memory) is TorchMemory
    memory, *_ = step([None], [])
    assert type(memory) is TorchMemory
    assert issubclass(CudaShardMemory, CudaMemory)
