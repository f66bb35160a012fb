"""Launches of programs for CUDA devices, without a device: how many there are, and what is uploaded for them."""

from __future__ import annotations

import pytest
from uniopt.conformance.settings import SETTINGS

import uniopt
from tests.fusion.devices import Host, Noting, numpy_on, require_compiler
from tests.fusion.test_cuda_on_host import large, walk
from tests.fusion.walks import build, compiled, normal


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    require_compiler()


@pytest.mark.parametrize("name", SETTINGS)
def test_many_leaves_share_a_launch(name: str) -> None:
    """200 leaves of all sizes take as many kernels and launches as two."""
    make = normal(name, "float32")
    found = []
    for count in (2, 200):
        device, params = Noting(), [make(3 + 7 * (i % 40)) for i in range(count)]
        with numpy_on(device):
            list(compiled(build(name), params, [[make(*p.shape) for p in params]], 1))
        found.append((len(device.sources), device.launches))
    assert found[0] == found[1]
    assert 0 < found[0][1] <= 10


def test_tables_are_uploaded_when_they_change() -> None:
    """Those of a launch's blocks once on each queue, those of addresses when an address is another one."""
    make = normal("tables", "float32")
    tx, device = build("adamw"), Host()
    params, grads, others = [make(7), make(3, 2)], [make(7), make(3, 2)], [make(7), make(3, 2)]
    state = tx.init(params)
    uploads = []
    with numpy_on(device):
        step = uniopt.compile(tx)
        for given, queue in ((grads, 0), (grads, 0), (others, 0), (others, 1), (others, 1)):
            device.number, before = queue, device.uploads
            params, state = step(given, state, params)
            uploads.append(device.uploads - before)
    assert uploads[0] == uploads[3] == 2  # what stays the same, and the addresses
    assert max(uploads[1], uploads[2], uploads[4]) <= 1


def test_other_numbers_make_no_other_kernels() -> None:
    device, known = Host(), 0
    for start, steps in ((0.5, 3), (0.25, 7)):
        for rate in (start, uniopt.linear_schedule(start, 0.125, steps)):
            walk(uniopt.sgd(rate, momentum=start), large("float32"), [large("float32")] * 2, device)
        assert known in (0, len(device.sources))
        known = len(device.sources)
