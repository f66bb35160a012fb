"""The same training on one library after another, and what came of each."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from uniopt import backends, tree
from uniopt.backends import Backend
from uniopt.cli.demo.comparison import Difference, differences
from uniopt.cli.demo.data import Digits
from uniopt.cli.demo.network import initial_parameters
from uniopt.cli.demo.progress import Progress
from uniopt.cli.demo.settings import Settings
from uniopt.cli.demo.training import GRADIENT_LIMIT, Run, Trainer
from uniopt.cli.errors import CommandError
from uniopt.cli.present import device_name, find_device, unavailable
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


def conduct(settings: Settings, digits: Digits, progress: Progress) -> list[Outcome]:
    """Train on every library asked for, NumPy first as the reference, and compare."""
    outcomes = []
    for name, (backend, device, reason) in _choose(settings).items():
        outcome = Outcome(name, not_run=reason)
        if backend is not None and reason is None:
            _train(backend, device, settings, digits, progress, outcome)
        progress.finish(name, outcome.run, outcome.not_run or outcome.failed)
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


def _choose(settings: Settings) -> dict[str, tuple[Backend | None, Any, str | None]]:
    """Return, for each library, its backend and device, or the reason why it cannot run."""
    asked = dict.fromkeys([REFERENCE, *(settings.backends or backends.names())])
    chosen: dict[str, tuple[Backend | None, Any, str | None]] = {}
    present = set()
    for name in asked:
        reason = unavailable(name)
        if reason is not None:
            chosen[name] = None, None, reason
            continue
        backend = backends.get(name)
        names = [device_name(device) for device in backend.devices()]
        present.update(names)
        device = find_device(backend, settings.device)
        if device is None and name == REFERENCE and name not in settings.backends:
            device = find_device(backend, None)  # the reference has to run somewhere
        reason = f"no device {settings.device!r}; its devices: {', '.join(names)}" if device is None else None
        chosen[name] = backend, device, reason
    if settings.device is not None and all(
        find_device(backend, settings.device) is None for backend, *_ in chosen.values() if backend is not None
    ):
        raise CommandError(f"no library here has a device {settings.device!r}. Devices: {', '.join(sorted(present))}")
    return chosen


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
