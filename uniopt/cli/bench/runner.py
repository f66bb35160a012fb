"""One row after another: whether it can run here, and what comes of it."""

from __future__ import annotations

import gc
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from uniopt import backends
from uniopt.cli.bench import bandwidth, first_call, memory, pair
from uniopt.cli.bench.agreement import ResultsDifferError
from uniopt.cli.bench.outcome import Outcome, Verdict
from uniopt.cli.bench.peers import library
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.targets import Row
from uniopt.cli.present import find_device, unavailable

_COPIES = 16  # of the leaves that a row holds at most: parameters, gradients, three slots, results, on both sides
_LIBRARY_OF = {"torch": ("torch",), "optax": ("jax",)}


def limit_threads(rows: Iterable[Row], threads: int) -> dict[str, str]:
    """Set the number of threads in every library that the rows use, and return what each says about it."""
    names = {name: row.device for row in rows for name in (row.backend, *_LIBRARY_OF.get(peer_of(row), ()))}
    return {name: library(name, device).limit(threads) for name, device in names.items() if not _missing(name, device)}


def run(rows: Iterable[Row], settings: Settings) -> Iterator[tuple[Row, Outcome]]:
    """Yield the outcome of each row as soon as it is known."""
    for row in rows:
        yield row, _outcome(row, settings)
        gc.collect()


def _outcome(row: Row, settings: Settings) -> Outcome:
    if reason := row.excepted or _absent(row) or _too_large(row):
        return Outcome.not_run(reason)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = _attempt(row, settings)
    return replace(found, warnings=list(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in heard)))


def _attempt(row: Row, settings: Settings) -> Outcome:
    try:
        return _measure(row, settings)
    except ResultsDifferError as error:
        return Outcome(Verdict.DIFFERS, reason=str(error))
    except Exception as error:  # of any library; the other rows still run
        return Outcome(
            Verdict.FAILED,
            reason=f"{type(error).__name__}: {error}",
            measured={"traceback": traceback.format_exc()},
        )


def _measure(row: Row, settings: Settings) -> Outcome:
    match row.against:
        case "bandwidth":
            return bandwidth.measure(row, settings)
        case "first-call-cold" | "first-call-warm":
            return first_call.measure(row, settings)
        case "memory":
            return memory.measure(row, settings)
    return pair.measure(row, settings)


def _absent(row: Row) -> str:
    """Return what the row needs and this machine does not have."""
    if reason := _missing(row.backend, row.device):
        return reason
    peer = peer_of(row)
    if peer and find_spec(peer) is None:
        return f"{peer} is not installed: pip install {peer}"
    if peer == "optax":
        from uniopt.cli.bench.peers import optax

        if not optax.has(row.optimizer):
            return f"optax has no {row.optimizer}"
    return ""


def _missing(name: str, device: str) -> str:
    """Return why a library, or a device of it, is not here."""
    if reason := unavailable(name):
        return reason
    return "" if find_device(backends.get(name), device) else f"{name} finds no device {device}"


def peer_of(row: Row) -> str:
    """Return the package that a row needs besides its backend, or nothing."""
    return "torch" if row.against.startswith(("torch", "first-call")) else "optax" if row.against == "optax" else ""


def _too_large(row: Row) -> str:
    """Return why memory would not be enough."""
    table = Path("/proc/meminfo")
    if not table.exists():  # no Linux: the system says no, if it has to
        return ""
    lines = table.read_text().splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    needed = _COPIES * row.size.nbytes
    return f"needs {needed / 2**30:.1f} GiB, {available / 2**30:.1f} available" if needed > available else ""
