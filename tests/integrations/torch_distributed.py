"""Distributed training, run as ``python torch_distributed.py RANK PROCESSES FOLDER`` in each process.

Of each way of distributing a model, three steps are those of torch's own optimizer, and a checkpoint goes on.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import uniopt
import uniopt.integrations.torch as ours

Wrap = Callable[[torch.nn.Module], torch.nn.Module]
Make = Any  # a class or a function


def main(rank: int, processes: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))

    def sharded(net: Any) -> torch.nn.Module:
        for layer in (net[0], net[2]):
            fully_shard(layer, mesh=mesh)
        return fully_shard(net, mesh=mesh)

    inputs = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(rank))
    every = gathered(inputs, processes)
    for wrap in (DistributedDataParallel, sharded):
        for name, arguments in {"AdamW": {"weight_decay": 0.1}, "SGD": {"momentum": 0.9}}.items():
            paths = [train(wrap, getattr(module, name), inputs, lr=0.05, **arguments) for module in (torch.optim, ours)]
            agree(f"{wrap.__name__}, {name}", *paths)
        for make in (ours.Adafactor, lion, clipped):
            undistributed = train(alone, make, every, lr=0.05)
            agree(f"{wrap.__name__}, {make.__name__}", undistributed, train(wrap, make, inputs, lr=0.05))
        for make in (ours.AdamW, lion, clipped):
            check_checkpoint(wrap, make, inputs)
    dist.barrier()
    dist.destroy_process_group()
    print("training agrees", flush=True)
    os._exit(0)  # torch's own threads may outlive the group, and then abort the interpreter while it shuts down


def alone(net: torch.nn.Module) -> torch.nn.Module:
    return net


def lion(params: Any, lr: float) -> torch.optim.Optimizer:
    return ours.Optimizer(params, uniopt.lion(lr))


def clipped(params: Any, lr: float) -> torch.optim.Optimizer:
    """Each process needs the gradients of all."""
    return ours.Optimizer(params, uniopt.chain(uniopt.clip_by_global_norm(0.1), uniopt.adam(lr)))


def gathered(inputs: torch.Tensor, processes: int) -> torch.Tensor:
    """Return the inputs of all processes."""
    found = [torch.empty_like(inputs) for _ in range(processes)]
    dist.all_gather(found, inputs)
    return torch.cat(found)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).double()


def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> None:
    optimizer.zero_grad()
    net(inputs).square().mean().backward()
    optimizer.step()


def train(wrap: Wrap, make: Make, inputs: torch.Tensor, **arguments: Any) -> list[torch.Tensor]:
    """Return the whole parameters after three steps."""
    net = wrap(network())
    optimizer = make(net.parameters(), **arguments)
    for _ in range(3):
        step(net, optimizer, inputs)
    return list(map(whole, net.parameters()))


def check_checkpoint(wrap: Wrap, make: Make, inputs: torch.Tensor) -> None:
    """A state that was saved by the names of parameters, as torch's distributed checkpoints are, goes on."""
    nets = [wrap(network()) for _ in range(2)]
    first, second = (make(net.parameters(), lr=0.05) for net in nets)
    for _ in range(2):
        step(nets[0], first, inputs)
    saved = copy.deepcopy(get_optimizer_state_dict(nets[0], first))
    for p, q in zip(nets[1].parameters(), nets[0].parameters(), strict=True):
        p.data.copy_(q.data)
    set_optimizer_state_dict(nets[1], second, saved)
    step(nets[0], first, inputs)
    step(nets[1], second, inputs)
    agree("checkpoint", *(list(map(whole, net.parameters())) for net in nets), bound=0.0)


def whole(x: torch.Tensor) -> torch.Tensor:
    return (x.full_tensor() if isinstance(x, DTensor) else x).detach().clone()


def agree(what: str, xs: list[torch.Tensor], ys: list[torch.Tensor], bound: float = 1e-12) -> None:
    for x, y in zip(xs, ys, strict=True):
        worst = (x - y).abs().max().item()
        assert worst <= bound, f"{what}: the parameters differ by {worst}"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
