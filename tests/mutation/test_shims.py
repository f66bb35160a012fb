"""What the suite asks of the libraries' shims is tested by faults, too, in a process of its own for each shim."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import test_protocol
from tests.conftest import require
from tests.mutation.corpus import faults_of
from tests.mutation.equivalent import FILE, listed
from tests.mutation.faults import faults
from tests.mutation.planting import planted
from tests.mutation.shims import MODULES

ROOT = Path(__file__).parents[2]


@pytest.mark.wide
@pytest.mark.parametrize("module", MODULES)
def test_every_fault_of_a_shim_is_found(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", module], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = {fault.name for fault in faults_of(module)}
    assert names & {*done.stdout.splitlines()} == names & listed().keys(), f"Not found, or listed in {FILE.name}"


def test_a_fault_in_a_shim_is_found_and_taken_out_again() -> None:
    numpy, (fault,) = require("numpy"), [x for x in faults_of("backends/numpy.py") if x.name.endswith(CASTS_NOTHING)]
    test_protocol.test_casts(numpy)
    with planted(fault), pytest.raises(AssertionError):
        test_protocol.test_casts(numpy)
    test_protocol.test_casts(numpy)


CASTS_NOTHING = "NumpyBackend.astype: return np.asarray(x, )"

SOURCE = '''
def converted(x: Any, dtype: str) -> Any:
    """Return x."""
    if dtype == "float32":
        raise TypeError(dtype)
    return xp.astype(np.array(x.detach()), np.float64)
'''


def test_data_types_and_copies_go_wrong() -> None:
    assert {fault.line for fault in faults("backends/library.py", SOURCE)} == {
        'if dtype != "float32":',
        "if dtype == 'float64':",
        "return xp.astype(np.array(x.detach()), np.float32)",
        "return xp.astype(np.array(x.detach()))",
        "return (np.array(x.detach()))",
        "return xp.astype((x.detach()), np.float64)",
        "return xp.astype(np.array(x), np.float64)",
    }
    assert not any("float32" in fault.line for fault in faults("library.py", SOURCE))
