"""Errors that only show with several libraries, devices, or one that is not there."""

from __future__ import annotations

import subprocess
import sys

import array_api_strict
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import uniopt
from uniopt import errors

TX = uniopt.adam(1e-3)


class Stranger:
    """Looks like an array, but belongs to no library."""

    shape = (2,)
    dtype = "float32"


def test_two_libraries_in_one_tree() -> None:
    with pytest.raises(errors.MixedLibrariesError, match=r"params\['a'\] is an array of numpy, params\['b'\] of torch"):
        TX.init({"a": np.ones(2), "b": torch.ones(2)})


def test_gradients_of_another_library_than_the_parameters() -> None:
    values = {"a": jnp.ones(2)}
    with pytest.raises(errors.MixedLibrariesError, match=r"updates\['a'\] is an array of numpy, params\['a'\] of jax"):
        TX.update({"a": np.ones(2)}, TX.init(values), values)


def test_a_state_of_another_library() -> None:
    state = TX.init({"a": torch.ones(2)})
    with pytest.raises(errors.StateError, match=r"state.mu\['a'\] is an array of torch .* expected an array of numpy"):
        TX.update({"a": np.ones(2)}, state)


def test_a_learning_rate_of_another_library() -> None:
    tx = uniopt.sgd(torch.tensor(0.1))
    with pytest.raises(
        errors.MixedLibrariesError, match="learning_rate is an array of torch, the parameters are of nu"
    ):
        tx.update({"a": np.ones(2)}, tx.init({"a": np.ones(2)}))


def test_an_unknown_array_type() -> None:
    with pytest.raises(errors.UnknownArrayTypeError) as caught:
        TX.init({"a": Stranger()})
    for part in ("params['a']", "Stranger", "numpy", "torch", "uniopt.backends.register", "uniopt.backends'"):
        assert part in str(caught.value)


def test_strict_gradient_on_another_device() -> None:
    values = {"a": array_api_strict.ones(2, device=array_api_strict.Device("device1"))}
    with pytest.raises(errors.MixedDevicesError) as caught:
        TX.update({"a": array_api_strict.ones(2)}, TX.init(values), values)
    for part in ("updates['a'] is on", "CPU_DEVICE", "params['a'] on", "device1"):
        assert part in str(caught.value)


def test_jax_gradient_on_another_device() -> None:
    first, second = jax.devices()[:2]
    values = {"a": jax.device_put(jnp.ones(2), first)}
    with pytest.raises(errors.MixedDevicesError, match="updates\\['a'\\] is on"):
        TX.update({"a": jax.device_put(jnp.ones(2), second)}, TX.init(values), values)


def test_torch_gradient_on_another_device() -> None:
    values = {"a": torch.ones(2)}
    with pytest.raises(errors.MixedDevicesError, match="updates\\['a'\\] is on meta"):
        TX.update({"a": torch.ones(2, device="meta")}, TX.init(values), values)


def test_a_library_that_is_not_installed() -> None:
    # A fresh interpreter that may not find torch stands for an environment without it.
    code = """
import sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "torch" else super().find_spec(name, path, target)
sys.meta_path = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
import uniopt
try:
    uniopt.backends.get("torch")
except uniopt.errors.BackendNotAvailableError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch is not installed. Install it: pip install 'uniopt[torch]'"


def test_a_dtype_that_the_library_lacks() -> None:
    with pytest.raises(errors.UnsupportedDtypeError, match="array_api_strict has no dtype 'float16'"):
        uniopt.adam(0.1, mu_dtype="float16").init({"a": array_api_strict.ones(2)})
    with pytest.raises(errors.UnsupportedDtypeError, match="jax computes in float64 only with x64"):
        uniopt.adam(0.1, mu_dtype="float64").init({"a": jnp.ones(2)})
