"""The curves as one picture: the loss of every library, and how far each is from NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from uniopt.cli.demo.experiment import REFERENCE, Outcome
from uniopt.cli.demo.report import headline, python_and_platform
from uniopt.cli.demo.settings import Settings

# Okabe and Ito's colours, which colour-blind readers can tell apart, and a mark of its own for each library.
_LOOKS = [("#D55E00", "o"), ("#0072B2", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P")]
_REFERENCE_COLOR = "0.8"
_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def draw(outcomes: list[Outcome], settings: Settings, path: Path) -> None:
    """Write the picture; libraries without a run are left out."""
    ran = [outcome for outcome in outcomes if outcome.run is not None]
    others = [outcome for outcome in ran if outcome.library != REFERENCE]
    compared = any(outcome.differences for outcome in others)
    figure = Figure(figsize=(12 if compared else 6.5, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    losses, *differences = figure.subplots(1, 2 if compared else 1, squeeze=False)[0]
    _draw_losses(losses, ran, others)
    for axes in differences:
        _draw_differences(axes, others, settings)
    figure.suptitle(headline(settings), x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.text(0.01, -0.01, _footnote(), fontsize=8, color="0.4", va="top")
    figure.savefig(path, bbox_inches="tight")


def _draw_losses(axes: Any, ran: list[Outcome], others: list[Outcome]) -> None:
    """Draw NumPy as a broad band, and each other library's marks where no other one has its own."""
    for outcome in ran:
        run = outcome.run
        assert run is not None
        epochs = (np.arange(np.size(run.step_losses)) + 1) / len(run.step_losses[0])
        values = np.ravel(run.step_losses)
        if outcome.library == REFERENCE:
            axes.plot(
                epochs,
                values,
                color=_REFERENCE_COLOR,
                linewidth=6,
                label=f"{REFERENCE} (reference)",
                solid_capstyle="round",
            )
            continue
        place = others.index(outcome)
        color, mark = _LOOKS[place % len(_LOOKS)]
        every = max(1, len(values) // 30) * len(others)
        first = place * every // len(others)
        axes.plot(
            epochs,
            values,
            color=color,
            linewidth=0.7,
            marker=mark,
            markersize=5,
            markevery=(first, every),
            label=outcome.library,
        )
    axes.set(xlabel="epoch", ylabel="cross-entropy of the mini-batch", yscale="log", title="Training loss")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # 0.1 0.2 0.5 1 2 5
    axes.yaxis.set_minor_formatter(_PLAIN)
    _finish(axes)


def _draw_differences(axes: Any, others: list[Outcome], settings: Settings) -> None:
    compared = [outcome for outcome in others if outcome.differences]
    for outcome in compared:
        place = others.index(outcome)
        color, mark = _LOOKS[place % len(_LOOKS)]
        ulps = [difference.ulp for difference in outcome.differences]
        epochs = np.arange(len(ulps)) + 1
        axes.plot(
            epochs, ulps, color=color, linewidth=1.2, marker=mark, label=outcome.library, markersize=9 - place
        )  # smaller and smaller, so that marks in one place stay visible
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.4)  # linear below 1 ulp, so that 0 has its place
    ulps = [d.ulp for outcome in compared for d in outcome.differences if np.isfinite(d.ulp)]
    axes.set_ylim(bottom=-0.15, top=2 * max(ulps, default=5.0) + 1)
    axes.set(xlabel="epoch", ylabel=f"{settings.dtype} ulp", title="Largest difference from NumPy after each epoch")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.set_title(axes.get_title(), loc="left", fontsize=11)
    axes.set_title("", loc="center")
    axes.grid(visible=True, which="major", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(_PLAIN)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def _footnote() -> str:
    return f"scikit-learn's handwritten digits. {python_and_platform()}"
