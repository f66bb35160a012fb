"""Curves as a picture."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uniopt.cli.plot.curves import Curve

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.", ":")


def draw(curves: list[Curve], path: Path) -> None:
    """Write the picture of the curves in one pair of axes."""
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, curve in enumerate(curves):
        axes.plot(
            curve.steps,
            curve.values,
            color=_COLORS[i % len(_COLORS)],
            linestyle=_STYLES[i % len(_STYLES)],
            linewidth=1.8,
            label=textwrap.fill(curve.text, 80),
        )
    axes.set(xlabel="step", ylabel="value", xlim=(0, curves[0].steps[-1]))
    axes.grid(visible=True, color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9)
    figure.savefig(path)
