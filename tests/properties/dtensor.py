"""The checks of torch's distributed tensors: run as ``python dtensor.py RANK PROCESSES FOLDER`` in every process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import uniopt

OPTIMIZERS = {
    "sgd": lambda: uniopt.sgd(0.1, momentum=0.9),
    "noisy_sgd": lambda: uniopt.noisy_sgd(0.1),
    "adam": lambda: uniopt.adam(uniopt.linear_schedule(0.1, 0.0, 10)),
    "adamw": lambda: uniopt.adamw(0.1),
    "nadam": lambda: uniopt.nadam(0.1),
    "nadamw": lambda: uniopt.nadamw(0.1),
    "amsgrad": lambda: uniopt.amsgrad(0.1),
    "rmsprop": lambda: uniopt.rmsprop(0.1, centered=True, momentum=0.9, eps=1e-3),
}


def main(rank: int, processes: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    placements = {"rows": (Shard(0),), "columns": (Shard(1),), "whole": (Replicate(),), "plain": None}
    shapes = {"rows": (6, 3), "columns": (2, 5), "whole": (3,), "plain": (2,)}
    for name, make in OPTIMIZERS.items():
        check(name, make(), mesh, placements, shapes)
    dist.barrier()
    dist.destroy_process_group()
    print("placements kept")


def check(name: str, tx: Any, mesh: Any, placements: Any, shapes: Any) -> None:
    generator = torch.Generator().manual_seed(1)

    def draw() -> dict[str, torch.Tensor]:
        return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}

    def distribute(tree: Any) -> Any:
        return {k: x if placements[k] is None else distribute_tensor(x, mesh, placements[k]) for k, x in tree.items()}

    plain = draw()
    params = distribute(plain)
    state, plain_state = tx.init(params), tx.init(plain)
    for _ in range(3):
        grads = draw()
        updates, state = tx.update(distribute(grads), state, params)
        plain_updates, plain_state = tx.update(grads, plain_state, plain)
        params, plain = uniopt.apply_updates(params, updates), uniopt.apply_updates(plain, plain_updates)
        for tree in (updates, params, *slots(state)):
            for key, x in tree.items():
                assert (x.placements if isinstance(x, DTensor) else None) == placements[key], f"{name}: {key}"
        for found, expected in ((params, plain), *zip(slots(state), slots(plain_state), strict=True)):
            for key, x in found.items():
                whole = x.full_tensor() if isinstance(x, DTensor) else x
                worst = float(torch.max(torch.abs(whole - expected[key])))
                assert worst <= 1e-6, f"{name}: {key} differs by {worst}"


def slots(state: Any) -> list[Any]:
    """Return the trees in a state that are like the parameters."""
    return [tree for part in state for tree in part if isinstance(tree, dict)]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
