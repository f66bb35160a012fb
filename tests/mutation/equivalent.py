"""The faults that change no number, as data: each was planted and seen to leave every path as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")


def listed(changes: str = "") -> dict[str, str]:
    """Return the reason of each fault that is listed, by its name.

    Parameters
    ----------
    changes
        ``"nothing"`` or ``"rounding"``, for the faults that change no bit or only the last ones; by default both.
    """
    groups = tomllib.loads(FILE.read_text(encoding="utf-8"))["equivalent"]
    pairs = [
        (name, group["reason"])
        for group in groups
        if changes in ("", group.get("changes", "nothing"))
        for name in group["faults"]
    ]
    twice = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    if twice:
        raise ValueError(f"{FILE.name} lists {', '.join(sorted(twice))} twice.")
    return dict(pairs)
