"""The checks of compiled steps on DTensors: run as ``python dtensor.py RANK PROCESSES FOLDER`` in every process."""

from __future__ import annotations

import inspect
import math
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from uniopt.backends import registry
from uniopt.conformance.settings import SETTINGS, Written

import uniopt

WHOLE = {"adafactor", "fromage", "lamb", "lars", "muon", "noisy_sgd", "novograd", "polyak_sgd", "sm3"}
WHOLE |= {"optimistic_adam", "optimistic_adam_v2", "optimistic_gradient_descent"}
"""Optimizers that need sums, an element's position, or a number for each leaf where a process may have no part of it.

Their steps are DTensor's own operations, which round like eager torch.
"""
PLACEMENTS = {
    "rows": (Shard(0),),
    "columns": (Shard(1),),
    "uneven": (Shard(0),),
    "whole": (Replicate(),),
    "plain": None,
}
SHAPES = {"rows": (6, 3), "columns": (2, 5), "uneven": (1, 4), "whole": (3,), "plain": (2,)}


def main(rank: int, processes: int, folder: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")  # a fallback on DTensors is documented, and needs no warning
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    for name, settings in SETTINGS.items():
        setting, hyper = next(iter(settings.items()))
        check(name, setting, build(name, hyper), mesh)
    check_placements(mesh)
    check_sums(mesh)
    dist.barrier()
    dist.destroy_process_group()
    print("steps agree", flush=True)
    os._exit(0)  # torch's own threads may outlive the group, and then abort the interpreter while it shuts down


def build(name: str, hyper: Any) -> Any:
    """Return the transformation, without masks, which are written for another tree."""
    made = {key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()}
    made |= {key: True for key in inspect.signature(getattr(uniopt, name)).parameters if key.endswith("mask")}
    return getattr(uniopt, name)(**made)


def distribute(tree: Any, mesh: Any) -> Any:
    """Return copies of tensors as DTensors, where they have a placement."""
    copies = {k: x.clone() for k, x in tree.items()}
    return {k: x if PLACEMENTS[k] is None else distribute_tensor(x, mesh, PLACEMENTS[k]) for k, x in copies.items()}


def whole(x: Any) -> Any:
    return (x.full_tensor() if isinstance(x, DTensor) else x).detach().clone()


def check(name: str, setting: str, tx: Any, mesh: Any) -> None:
    """Walk distributed and plain parameters: the same bits where every element stands by itself."""
    generator = torch.Generator().manual_seed(1)

    def draw() -> dict[str, torch.Tensor]:
        return {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}

    plain = draw()
    params = distribute(plain, mesh)
    state, plain_state = tx.init(params), tx.init(plain)
    step, plain_step = uniopt.compile(tx), uniopt.compile(tx)
    value = torch.tensor(2.0)
    for k in range(3):
        grads = draw()
        versions = [(x._version, local(x)._version) for x in params.values()]
        where = [local(x).data_ptr() for x in params.values()]
        after, state = step(distribute(grads, mesh), state, params, value=value)
        plain, plain_state = plain_step(grads, plain_state, plain, value=value)
        for key, x in params.items():
            assert after[key] is x, f"{name}/{setting}, step {k}: {key} is another tensor"
            assert (x.placements if isinstance(x, DTensor) else None) == PLACEMENTS[key]
        assert [local(x).data_ptr() for x in params.values()] == where
        for x, (outer, inner) in zip(params.values(), versions, strict=True):
            assert x._version > outer, f"{name}/{setting}"
            # Of its own in-place operations, torch counts the outer tensor alone.
            assert name in WHOLE or local(x)._version > inner, f"{name}/{setting}"
        found, expected = (
            dict(uniopt.tree.leaves_with_paths(tree, f"{name}/{setting}, step {k}: "))
            for tree in ((params, state), (plain, plain_state))
        )
        for path, x in found.items():
            compare(path, whole(x), expected[path], exact=name not in WHOLE)


def local(x: Any) -> torch.Tensor:
    return x.to_local() if isinstance(x, DTensor) else x


def compare(path: str, found: torch.Tensor, expected: torch.Tensor, *, exact: bool) -> None:
    assert found.dtype == expected.dtype, path
    if exact:
        assert torch.equal(found, expected), f"{path} is {found}, expected {expected}"
        return
    worst = torch.max(torch.abs(found.double() - expected.double())) if found.numel() else torch.zeros(())
    assert worst <= 1e-6 * max(1.0, float(torch.max(torch.abs(expected.double())))), f"{path} differs by {worst}"


def check_placements(mesh: Any) -> None:
    """Shards that do not belong together, though they have one shape, are brought together by DTensor."""
    processes = mesh.size()
    w, g = (
        torch.arange(4.0 * processes).reshape(processes, 4),
        torch.linspace(-1, 1, 4 * processes).reshape(processes, 4),
    )
    tx = uniopt.adamw(0.1)
    expected = uniopt.compile(tx, donate=False)([g], tx.init([w]), [w])[0][0]
    share = (g / processes).contiguous()
    cases = {
        "partial gradients": (Replicate(), DTensor.from_local(share, mesh, [Partial()])),
        "replicated gradients": (Shard(0), distribute_tensor(g.clone(), mesh, [Replicate()])),
        "gradients by columns": (Shard(0), distribute_tensor(g.clone(), mesh, [Shard(1)])),
        "gradients by rows": (Shard(1), distribute_tensor(g.clone(), mesh, [Shard(0)])),
    }
    for name, (placement, grads) in cases.items():
        params = [distribute_tensor(w.clone(), mesh, [placement])]
        after, _ = uniopt.compile(tx)([grads], tx.init(params), params)
        compare(name, whole(after[0]), expected, exact=False)
        assert after[0].placements == (placement,), name
    # One step, called with gradients of their own placement first.
    params = [distribute_tensor(w.clone(), mesh, [Replicate()])]
    plain = [w.clone()]
    step, plain_step, state, plain_state = uniopt.compile(tx), uniopt.compile(tx), tx.init(params), tx.init(plain)
    for grads in (distribute_tensor(g.clone(), mesh, [Replicate()]), DTensor.from_local(share, mesh, [Partial()])):
        params, state = step([grads], state, params)
        plain, plain_state = plain_step([g], plain_state, plain)
        compare("partial gradients later", whole(params[0]), plain[0], exact=False)
    slots = tx.init([distribute_tensor(w.clone(), mesh, [Replicate()])])
    params = [distribute_tensor(w.clone(), mesh, [Shard(0)])]
    after, _ = uniopt.compile(tx)([distribute_tensor(g.clone(), mesh, [Shard(0)])], slots, params)
    compare("a replicated state", whole(after[0]), expected, exact=False)


def check_sums(mesh: Any) -> None:
    """Sums of every kind concern all shards, those that are no loops too, and so do positions."""

    def signs(xp: Any, g: Any, s: Any) -> Any:
        return -g * xp.astype(xp.sum(xp.astype(g > 0, xp.int32)), g.dtype), s

    def first(xp: Any, g: Any, s: Any) -> Any:
        return -g * xp.reshape(g, (-1,))[0], s

    def numbered(xp: Any, g: Any, s: Any) -> Any:
        positions = xp.reshape(xp.arange(math.prod(g.shape)), g.shape)
        return -g * xp.astype(registry.backend_of(g).place(positions, g), g.dtype), s

    g = torch.linspace(-1, 1, 12).reshape(4, 3)
    for rule in (signs, first, numbered):
        tx = uniopt.leafwise(uniopt.EmptyState, None, rule)
        params = [distribute_tensor(torch.zeros(4, 3), mesh, [Shard(0)])]
        after, _ = uniopt.compile(tx)([distribute_tensor(g.clone(), mesh, [Shard(0)])], tx.init(params), params)
        expected = uniopt.compile(tx)([g], tx.init([g]), [torch.zeros(4, 3)])[0][0]
        compare(rule.__name__, whole(after[0]), expected, exact=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
