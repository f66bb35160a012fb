"""What transformations print is read again as what they are."""

from __future__ import annotations

from typing import Any

import pytest
from uniopt.conformance.settings import SETTINGS, Written

import uniopt
from tests.dialects import keras_runs, mlx_runs, torch_runs
from tests.properties.wrapped import WRAPPED
from uniopt import dialects
from uniopt.errors import HyperparameterError
from uniopt.integrations.written import read, write


def optimizers() -> dict[str, Any]:
    made = {}
    for name, settings in SETTINGS.items():
        for setting, hyper in settings.items():
            given = {key: x.for_uniopt if isinstance(x, Written) else x for key, x in hyper.items()}
            made[f"{name}, {setting}"] = getattr(uniopt, name)(**given)
    for dialect, runs in ((dialects.keras, keras_runs), (dialects.mlx, mlx_runs), (dialects.torch, torch_runs)):
        for name, settings in runs.SETTINGS.items():
            for setting in settings:
                hyper = dict(settings[setting])
                if dialect is dialects.mlx and name != "Adafactor":
                    hyper["learning_rate"] = 0.1
                made[f"{dialect.__name__}.{name}, {setting}"] = getattr(dialect, name)(**hyper)
    return made


OPTIMIZERS = optimizers()
# Which matrices there are is decided by functions of the dialects.
UNWRITTEN = ("uniopt.dialects.mlx.Muon", "uniopt.dialects.torch.Muon")


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if not name.startswith(UNWRITTEN)])
def test_optimizers(name: str) -> None:
    assert read(write(OPTIMIZERS[name])) == OPTIMIZERS[name]


@pytest.mark.parametrize("wrapped", WRAPPED, ids=str)
def test_wrappers(wrapped: Any) -> None:
    tx = wrapped.build()
    assert read(write(tx)) == tx


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name.startswith(UNWRITTEN)])
def test_what_cannot_be_written(name: str) -> None:
    with pytest.raises(HyperparameterError, match="cannot be written to a configuration"):
        write(OPTIMIZERS[name])


def test_a_function_of_the_same_name_is_another() -> None:
    def weight_decay_mask(params: Any) -> Any:
        return uniopt.tree.map(lambda p: True, params)

    with pytest.raises(HyperparameterError, match="the call makes something else"):
        write(uniopt.adamw(0.1, mask=weight_decay_mask))
    assert "weight_decay_mask" in write(uniopt.adamw(0.1, mask=uniopt.weight_decay_mask))
