"""The same training on one library after another, and what came of each."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from uniopt import backends, tree
from uniopt.backends import Backend
from uniopt.backends.device_names import device_name
from uniopt.cli.demo.comparison import Difference, differences
from uniopt.cli.demo.data import Digits
from uniopt.cli.demo.network import initial_parameters
from uniopt.cli.demo.progress import Progress
from uniopt.cli.demo.settings import Settings
from uniopt.cli.demo.training import GRADIENT_LIMIT, Run, Trainer
from uniopt.cli.errors import CommandError
from uniopt.cli.present import find_device, unavailable
from uniopt.errors import UnsupportedDtypeError

REFERENCE = "numpy"


@dataclass
class Outcome:
    """What became of one library: a run, or the reason why there is none."""

    library: str
    run: Run | None = None
    not_run: str | None = None  # the library cannot do what was asked
    failed: str | None = None  # it could, but something went wrong
    traceback: str | None = None
    differences: list[Difference] = field(default_factory=list)  # from NumPy, after each epoch


class Candidate(NamedTuple):
    """A library that was asked for, and where it will run or why it cannot."""

    name: str
    backend: Backend | None
    device: Any
    reason: str | None


def choose(settings: Settings) -> list[Candidate]:
    """Load the libraries asked for, or else all, and find the device; NumPy comes first, as the reference."""
    candidates = []
    for name in dict.fromkeys([REFERENCE, *(settings.backends or backends.names())]):
        if (reason := unavailable(name)) is not None:
            candidates.append(Candidate(name, None, None, reason))
            continue
        backend = backends.get(name)
        device = find_device(backend, settings.device)
        if device is None and name == REFERENCE and name not in settings.backends:
            device = find_device(backend, None)  # the reference has to run somewhere
        reason = None if device is not None else f"no device {settings.device!r}; its devices: {_devices(backend)}"
        candidates.append(Candidate(name, backend, device, reason))
    present = [candidate.backend for candidate in candidates if candidate.backend is not None]
    if all(find_device(backend, settings.device) is None for backend in present):
        found = "; ".join(f"{backend.name}: {_devices(backend)}" for backend in present)
        raise CommandError(f"no library here has a device {settings.device!r}. Devices: {found}")
    return candidates


def conduct(candidates: list[Candidate], settings: Settings, digits: Digits, progress: Progress) -> list[Outcome]:
    """Train on every candidate that can run, and compare with NumPy."""
    outcomes = []
    for candidate in candidates:
        outcome = Outcome(candidate.name, not_run=candidate.reason)
        if candidate.backend is not None and candidate.reason is None:
            _train(candidate.backend, candidate.device, settings, digits, progress, outcome)
        progress.finish(candidate.name, outcome.run, outcome.not_run or outcome.failed)
        outcomes.append(outcome)
    _compare(outcomes, settings)
    return outcomes


def complaints(outcomes: list[Outcome], settings: Settings) -> list[str]:
    """Return what makes the demonstration a failure, in words."""
    found = [f"{outcome.library} failed: {outcome.failed}" for outcome in outcomes if outcome.failed]
    found += [
        f"{outcome.library} was asked for, but did not run: {outcome.not_run}"
        for outcome in outcomes
        if outcome.not_run and outcome.library in settings.backends
    ]
    if not any(outcome.run for outcome in outcomes):
        found.append("nothing ran")
    return found


def _devices(backend: Backend) -> str:
    return ", ".join(device_name(device) for device in backend.devices())


def _train(
    backend: Backend, device: Any, settings: Settings, digits: Digits, progress: Progress, outcome: Outcome
) -> None:
    progress.start(outcome.library)
    try:
        run = Trainer(backend, device, settings).train(
            digits, lambda epoch, loss: progress.epoch(outcome.library, epoch, loss)
        )
    except UnsupportedDtypeError as error:
        outcome.not_run = str(error)
        return
    except Exception as error:  # shown as a failure of this library; the others still have their turn
        outcome.failed = f"{type(error).__name__}: {error}"
        outcome.traceback = traceback.format_exc()
        return
    outcome.run = run
    if run.gradient_check is not None and not run.gradient_check.ulp <= GRADIENT_LIMIT:
        outcome.failed = (
            f"its autodiff and the gradient derived by hand differ by {run.gradient_check.ulp:.3g} ulp on the first "
            f"batch, more than {GRADIENT_LIMIT}"
        )


def _compare(outcomes: list[Outcome], settings: Settings) -> None:
    reference = next(outcome.run for outcome in outcomes if outcome.library == REFERENCE)
    if reference is None:
        return
    start = tree.leaves(initial_parameters(settings.seed))
    for outcome in outcomes:
        if outcome.run is not None:
            outcome.differences = differences(outcome.run.parameters, reference.parameters, start, settings.dtype)
