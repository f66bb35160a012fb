"""The checks of torch's distributed tensors: run as ``python dtensor.py RANK PROCESSES FOLDER`` in every process."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from uniopt.conformance.settings import SETTINGS, Written

import uniopt

PLACEMENTS = {"rows": (Shard(0),), "columns": (Shard(1),), "whole": (Replicate(),), "plain": None}
SHAPES = {"rows": (6, 3), "columns": (2, 5), "whole": (3,), "plain": (2,)}


def main(rank: int, processes: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    for name, settings in SETTINGS.items():
        for setting, hyper in settings.items():
            check(f"{name}/{setting}", build(name, hyper), mesh)
    dist.barrier()
    dist.destroy_process_group()
    print("placements kept")


def build(name: str, hyper: Any) -> Any:
    """Return the transformation, without masks, which are written for another tree."""
    made = {key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()}
    made |= {key: True for key in inspect.signature(getattr(uniopt, name)).parameters if key.endswith("mask")}
    return getattr(uniopt, name)(**made)


def check(name: str, tx: Any, mesh: Any) -> None:
    generator = torch.Generator().manual_seed(1)

    def draw() -> dict[str, torch.Tensor]:
        return {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}

    def distribute(tree: Any) -> Any:
        return {k: x if PLACEMENTS[k] is None else distribute_tensor(x, mesh, PLACEMENTS[k]) for k, x in tree.items()}

    plain = draw()
    params = distribute(plain)
    state, plain_state = tx.init(params), tx.init(plain)
    for step in range(3):
        grads, value = draw(), torch.tensor(2.0)
        updates, state = tx.update(distribute(grads), state, params, value=value)
        plain_updates, plain_state = tx.update(grads, plain_state, plain, value=value)
        params, plain = uniopt.apply_updates(params, updates), uniopt.apply_updates(plain, plain_updates)
        found, expected = (
            dict(uniopt.tree.leaves_with_paths(tree, f"{name}, step {step}: "))
            for tree in ((updates, params, state), (plain_updates, plain, plain_state))
        )
        assert found.keys() == expected.keys()
        for path, x in found.items():
            compare(path, x, expected[path])


def compare(path: str, found: Any, expected: Any) -> None:
    """Check the numbers, and the placement of what is shaped like a parameter."""
    for key, shape in SHAPES.items():
        if f"['{key}']" in path and found.shape == shape:
            assert (found.placements if isinstance(found, DTensor) else None) == PLACEMENTS[key], path
    whole = found.full_tensor() if isinstance(found, DTensor) else found
    assert whole.dtype == expected.dtype, path
    # Relative to what is large: the sums of squares are.
    worst = torch.max(torch.abs(whole.double() - expected.double())) if whole.numel() else torch.zeros(())
    assert worst <= 1e-6 * max(1.0, float(torch.max(torch.abs(expected.double())))), f"{path} differs by {worst}"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
