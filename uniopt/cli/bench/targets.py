"""The targets: which step on which library is compared with what, and how long it may take in comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from uniopt.cli.bench.by_hand import FORMULAS
from uniopt.cli.bench.optimizers import FACTORED_OR_NORMED, OF_TORCH, WITHOUT_SECOND_MOMENTS, names
from uniopt.cli.bench.sizes import SIZES, Size
from uniopt.cli.bench.traffic import EXCEPTED

AGAINST = {
    "torch-fused": "torch.optim, fused=True",
    "torch-optimizer": "torch.optim, fused=True, and uniopt's through uniopt.integrations.torch",
    "torch-eager": "torch.optim, the faster of foreach and for-loop",
    "torch-compile": "torch.compile of torch.optim's step",
    "eager": "uniopt's own eager step on the same library",
    "bandwidth": "the bytes of the fewest passes, at the bandwidth of a copy",
    "optax": "optax, jitted and donated",
    "by-hand": "the same formula by hand, operation by operation",
    "first-call-cold": "first call of torch.compile's step, nothing in the cache on either side",
    "first-call-warm": "first call of torch.compile's step with nothing in its cache, uniopt's kernels in theirs",
    "memory": "1 % of parameters, gradients and state, or 16 MiB if that is more",
}
"""What uniopt is compared with."""

_WIDE = ("10x1e3", "200x1e4", "2e7", "gpt2")

# torch has these on the CPU in a hand-written kernel, and these others in Python alone. The names are also in
# peers/torch.py, which imports torch; a test holds the two together.
TORCH_FUSED = ("adagrad", "adam", "adamw", "sgd")
TORCH_OTHERS = ("adadelta", "adafactor", "adamax", "asgd", "nadam", "radam", "rmsprop", "rprop")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    backend, optimizer, size
        What is measured of uniopt.
    against
        What it is compared with, a key of `AGAINST`.
    target
        The ratio that it may have at most; None where it is measured without a target.
    excepted
        Why the row makes no sense for this optimizer or takes too long; empty for all others.
    device
        Where both sides compute.
    """

    backend: str
    optimizer: str
    size: Size
    against: str
    target: float | None
    excepted: str = ""
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Return ``backend/optimizer/size/against``, with the device after the backend unless it is the CPU."""
        where = self.backend if self.device == "cpu" else f"{self.backend}+{self.device}"
        return f"{where}/{self.optimizer}/{self.size.name}/{self.against}"


def table() -> list[Row]:
    """Return all rows."""
    return [
        *_numpy_against_torch(),
        *_torch_against_torch(),
        *_dialect_against_torch(),
        *_numpy_against_itself(),
        *_against_bandwidth(),
        *_jax_against_optax(),
        *_eager_against_by_hand(),
        *_first_calls(),
        *_memory(),
        *_on_cuda(),
    ]


def _numpy_against_torch() -> Iterator[Row]:
    for size, target in (("10", 0.5), ("10x1e3", 0.5), ("200x1e4", 0.8), ("2e7", 1.05), ("gpt2", 1.05)):
        yield Row("numpy", "adamw", SIZES[size], "torch-fused", target)


_UNCOMPILED = "torch.compile makes no graph of torch's Adafactor, which reads its count as a Python number in each step"


def _torch_against_torch() -> Iterator[Row]:
    for size in _WIDE:
        for optimizer in TORCH_FUSED:
            yield Row("torch", optimizer, SIZES[size], "torch-fused", 1.05)
            yield Row("torch", optimizer, SIZES[size], "torch-optimizer", 1.05)
        for optimizer in TORCH_OTHERS:
            yield Row("torch", optimizer, SIZES[size], "torch-eager", 0.35)
            reason = _UNCOMPILED if optimizer == "adafactor" else ""
            yield Row("torch", optimizer, SIZES[size], "torch-compile", 1.25, excepted=reason)
        for against, target in (("torch-eager", 0.35), ("torch-compile", 1.25)):
            reason = "torch's Muon multiplies in bfloat16 and corrects no bias: it has another formula"
            yield Row("torch", "muon", SIZES[size], against, target, excepted=reason)


def _dialect_against_torch() -> Iterator[Row]:
    for backend in ("numpy", "torch"):
        for size in ("200x1e4", "2e7"):
            for optimizer in OF_TORCH:
                fused = optimizer.removeprefix("torch.").lower() in TORCH_FUSED
                against, target = ("torch-fused", 1.05) if fused else ("torch-eager", 0.35)
                yield Row(backend, optimizer, SIZES[size], against, target)


def _numpy_against_itself() -> Iterator[Row]:
    for optimizer in names():
        if optimizer not in FACTORED_OR_NORMED:
            target = 0.45 if optimizer in WITHOUT_SECOND_MOMENTS else 0.2
            yield Row("numpy", optimizer, SIZES["2e7"], "eager", target)


def _against_bandwidth() -> Iterator[Row]:
    for backend in ("numpy", "torch"):
        for size in ("2e7", "gpt2"):  # what is smaller stays in the caches
            for optimizer in names():
                yield Row(backend, optimizer, SIZES[size], "bandwidth", 1.5, EXCEPTED.get(optimizer, ""))


def _jax_against_optax() -> Iterator[Row]:
    for size in _WIDE:
        for optimizer in names():
            slow = optimizer == "muon" and size in ("2e7", "gpt2")
            reason = "each step multiplies matrices for a minute" if slow else ""
            yield Row("jax", optimizer, SIZES[size], "optax", 1.10 if size == "10x1e3" else 1.05, reason)


def _eager_against_by_hand() -> Iterator[Row]:
    for backend in ("numpy", "torch", "jax"):
        for size, target in (("200x1e4", 1.5), ("2e7", 1.1)):
            for optimizer in FORMULAS:
                yield Row(backend, optimizer, SIZES[size], "by-hand", target)


def _first_calls() -> Iterator[Row]:
    for backend in ("numpy", "torch"):
        for against, target in (("first-call-cold", 0.2), ("first-call-warm", 0.02)):
            yield Row(backend, "adamw", SIZES["gpt2"], against, target)


def _memory() -> Iterator[Row]:
    for backend in ("numpy", "torch"):
        for optimizer in names():
            slow = "each step multiplies matrices for a minute" if optimizer == "muon" else ""
            yield Row(backend, optimizer, SIZES["2e7"], "memory", 1.0, slow)
        yield Row(backend, "adamw", SIZES["gpt2"], "memory", 1.0)


# On CUDA nothing is promised. torch has no fused Adagrad there.
_FUSED_ON_CUDA = tuple(name for name in TORCH_FUSED if name != "adagrad")


def _on_cuda() -> Iterator[Row]:
    """Yield the rows of a CUDA device, in which the libraries' arrays and the peers' are both there."""
    for size in _WIDE:
        yield _cuda("cupy", "adamw", size, "torch-fused")
        for optimizer in (*TORCH_FUSED, *TORCH_OTHERS):
            fused = optimizer in _FUSED_ON_CUDA
            yield _cuda("torch", optimizer, size, "torch-fused" if fused else "torch-eager")
            if fused:
                yield _cuda("torch", optimizer, size, "torch-optimizer")
        for optimizer in names():
            yield _cuda("jax", optimizer, size, "optax")
    for size in ("2e7", "gpt2"):
        for backend, optimizer in product(("cupy", "torch"), names()):
            yield _cuda(backend, optimizer, size, "bandwidth", EXCEPTED.get(optimizer, ""))
    for size, optimizer in product(("200x1e4", "2e7"), FORMULAS):
        for backend in ("cupy", "torch", "jax"):
            yield _cuda(backend, optimizer, size, "by-hand")
    for optimizer in names():
        if optimizer not in FACTORED_OR_NORMED:
            yield _cuda("cupy", optimizer, "2e7", "eager")


def _cuda(backend: str, optimizer: str, size: str, against: str, excepted: str = "") -> Row:
    return Row(backend, optimizer, SIZES[size], against, None, excepted, "cuda")
