"""Every optimizer with every setting of the conformance suite, as test parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uniopt.conformance.settings import SETTINGS, Written

import uniopt


@dataclass(frozen=True)
class Setting:
    """An optimizer's name, and that of its hyperparameters."""

    optimizer: str
    name: str

    def build(self, **changes: Any) -> uniopt.GradientTransformation:
        """Return the transformation."""
        hyper = {**SETTINGS[self.optimizer][self.name], **changes}
        made = {key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()}
        tx: uniopt.GradientTransformation = getattr(uniopt, self.optimizer)(**made)
        return tx

    def __str__(self) -> str:
        return f"{self.optimizer}/{self.name}"


EVERY = [Setting(optimizer, name) for optimizer, settings in SETTINGS.items() for name in settings]
"""Every setting of every optimizer."""

ONE_EACH = [Setting(optimizer, next(iter(settings))) for optimizer, settings in SETTINGS.items()]
"""Every optimizer once."""
