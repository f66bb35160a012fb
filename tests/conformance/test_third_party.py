"""Optimizers and libraries of other people: found by name, tested, and refused with a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uniopt.conformance import Record

import uniopt
from uniopt import backends
from uniopt.cli import main

THEIRS = '''
import optax
import torch
import uniopt

class HisAdam(torch.optim.Adam):
    """Nothing but another name."""

class Forgetful(torch.optim.Optimizer):
    """Adam whose count is lost with the object."""

    def __init__(self, params, rate=1e-3, b1=0.9, b2=0.999, eps=1e-8):
        super().__init__(params, {"rate": rate, "b1": b1, "b2": b2, "eps": eps})
        self.t = 0

    @torch.no_grad()
    def step(self):
        self.t += 1
        for group in self.param_groups:
            for p in group["params"]:
                slots = self.state[p]
                m = slots["m"] = group["b1"] * slots.get("m", 0.0) + (1 - group["b1"]) * p.grad
                v = slots["v"] = group["b2"] * slots.get("v", 0.0) + (1 - group["b2"]) * p.grad**2
                m, v = m / (1 - group["b1"] ** self.t), v / (1 - group["b2"] ** self.t)
                p -= group["rate"] * m / (v.sqrt() + group["eps"])

class Uncorrected(torch.optim.Optimizer):
    """Momentum that takes its first gradient whole."""

    def __init__(self, params, lr, mu=0.0):
        super().__init__(params, {"lr": lr, "mu": mu})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                slots = self.state[p]
                slots["m"] = p.grad.clone() if "m" not in slots else group["mu"] * slots["m"] + 0.999 * p.grad
                p -= group["lr"] * slots["m"]

def her_lion(learning_rate, b1=0.9, b2=0.99):
    return optax.lion(learning_rate, b1, b2)

def their_sgd(rate, momentum=None):
    return uniopt.sgd(rate, momentum)

def nothing():
    return uniopt.sgd(0.125)

class Copy(uniopt.backends.get("numpy").__class__):
    name = "copied_numpy"

    def version(self):
        return "1.0"

class Narrow(Copy):
    """Says that it has no 16-bit floats, and has none."""

    name = "narrow_numpy"
    lacks = {"*float16": "for the test"}

    def dtype(self, name):
        if name in ("bfloat16", "float16"):
            raise uniopt.errors.UnsupportedDtypeError(name)
        return super().dtype(name)

class Modest(Copy):
    """Says that it has no 16-bit floats, and has them."""

    name = "modest_numpy"
    lacks = {"*float16": "for the test"}

NUMBER = 3
'''
ADAM = ["--reference", "adam", "--map", "lr=learning_rate,betas=b1:b2,eps=eps"]


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_code.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_code", raising=False)
    monkeypatch.setattr("uniopt.backends.registry._registered", dict(backends.registry._registered))
    monkeypatch.setattr("uniopt.backends.registry._by_type", {})


def run(tmp_path: Path, *arguments: str) -> tuple[int, Record]:
    status = main(["conformance", *arguments, "--out", str(tmp_path / "out")])
    return status, Record.load(tmp_path / "out" / "record.json")


def test_torchs_own_class_by_another_name_passes(tmp_path: Path) -> None:
    status, record = run(tmp_path, "--optimizer", "torch:their_code.HisAdam", *ADAM)
    assert status == 0
    assert {(c["backend"], c["dtype"], c["mode"]) for c in record.cells} == {
        ("torch", "float64", "eager"),
        ("torch", "float32", "eager"),
    }
    assert {c["setting"] for c in record.cells} == {"default", "momenta"}
    assert len({c["problem"] for c in record.cells}) > 6
    assert all(c["comparisons"].keys() == {"reference"} and "resume" in c["properties"] for c in record.cells)


def test_what_is_lost_between_two_runs_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--optimizer", "torch:their_code.Forgetful", "--reference", "adam", "--map"]
    status, record = run(tmp_path, *chosen, "rate=learning_rate,b1=b1,b2=b2,eps=eps")
    assert status == 1
    for cell in record.cells:
        assert "differs from the uninterrupted run" in cell["properties"]["resume"]
        assert cell["comparisons"]["reference"]["verdict"] == "PASS"
    command = record.cells[0]["command"].split()
    assert command[:2] == ["uniopt", "conformance"]
    capsys.readouterr()
    assert main(command[1:]) == 1
    assert "1 cells: 1 FAIL" in capsys.readouterr().out


def test_a_wrong_formula_is_found_with_its_step(tmp_path: Path) -> None:
    chosen = ["--optimizer", "torch:their_code.Uncorrected", "--reference", "sgd", "--map"]
    status, record = run(tmp_path, *chosen, "lr=learning_rate,mu=momentum", "--dtype", "float64")
    assert status == 1
    failed = next(c for c in record.cells if c["name"].startswith("torch:their_code.Uncorrected/momentum/normal/"))
    assert failed["comparisons"]["reference"]["diverges"]["step"] == 2


def test_optax_and_uniopt(tmp_path: Path) -> None:
    status, record = run(tmp_path, "--optimizer", "optax:their_code.her_lion", "--reference", "lion")
    assert status == 0
    assert {c["backend"] for c in record.cells} == {"jax"}
    chosen = ["--optimizer", "their_code:their_sgd", "--reference", "sgd", "--map"]
    status, record = run(tmp_path, *chosen, "rate=learning_rate,momentum=momentum", "--backend", "numpy")
    assert status == 0
    assert {c["mode"] for c in record.cells} == {"eager", "compiled"}
    status, record = run(tmp_path, "--optimizer", "their_code:nothing", "--backend", "torch", "--quick")
    assert status == 0
    assert {tuple(c["comparisons"]) for c in record.cells} == {("numpy",)}


def test_a_library_in_two_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--backend", "their_code:Copy", "--quick", "--optimizer", "sgd", "--optimizer", "lion"]
    status, record = run(tmp_path, *chosen, "--jobs", "2")
    assert status == 0
    assert {c["backend"] for c in record.cells} == {"copied_numpy"}
    command = record.cells[0]["command"].split()
    assert command[:4] == ["uniopt", "conformance", "--backend", "their_code:Copy"]
    capsys.readouterr()
    assert main(command[1:]) == 0
    assert "1 cells: 1 PASS" in capsys.readouterr().out


def test_the_command_looks_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text("import uniopt\n\ndef plain():\n    return uniopt.sgd(0.125)\n")
    script = "import sys; sys.path.remove(''); from uniopt.cli import main; sys.exit(main())"
    chosen = ["conformance", "--optimizer", "here:plain", "--backend", "array_api_strict", "--quick"]
    done = subprocess.run(
        [sys.executable, "-c", script, *chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(uniopt.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_library_says_what_it_lacks(tmp_path: Path) -> None:
    asked = ["--quick", "--optimizer", "kahan_summation", "--dtype", "bfloat16", "--backend"]
    status, record = run(tmp_path, *asked, "their_code:Narrow")
    assert {(c["verdict"], c["reason"]) for c in record.cells} == {("UNSUPPORTED", "for the test")}
    assert status == 0
    status, record = run(tmp_path, *asked, "their_code:Modest")
    assert status == 1
    assert all("take the declaration out" in c["reason"] for c in record.cells)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--optimizer", "torch:their_code.HisAdam"], "nothing but a reference can tell"),
        (["--optimizer", "torch:their_code.HisAdam", "--reference", "adem"], "No reference is called 'adem'"),
        (["--optimizer", "torch:their_code.HisAdam", "--reference", "adam"], "is said to be the learning rate"),
        (["--optimizer", "torch:their_code.HisAdam", *ADAM[:3], "lr=learning_rate,x=b1"], "has no parameter 'x'"),
        (["--optimizer", "torch:their_code.HisAdam", *ADAM[:3], "lr=rate"], "has no parameter 'rate'"),
        (["--optimizer", "torch:their_code.Nobody", *ADAM], "has no 'Nobody'"),
        (["--optimizer", "no_such_package:x"], "cannot be imported"),
        (["--optimizer", "their_code:their_sgd"], "cannot be called without rate"),
        (["--optimizer", "their_code:NUMBER"], "expected a class or a function"),
        (["--backend", "their_code:NUMBER"], "expected a backend"),
    ],
)
def test_what_cannot_be_tested_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", *arguments]) == 2
    assert said in capsys.readouterr().err


TESTS = """
import uniopt

def test_shape(xp, backend, device):
    assert xp.zeros((2, 3)).shape == (2, 3)
    assert device == backend.devices()[0]

def test_step(backend, xp):
    p = xp.ones(3)
    tx = uniopt.sgd(0.5)
    u, _ = tx.update(p, tx.init(p), p)
    assert backend.to_numpy(u).tolist() == [-0.5] * 3

def test_without():
    pass
"""


def pytest_in(folder: Path, *options: str) -> str:
    (folder / "test_theirs.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-rA"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), str(folder), *options], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_plugin_runs_tests_on_the_libraries_that_are_named(tmp_path: Path) -> None:
    said = pytest_in(tmp_path, "--uniopt-backend", "numpy", "--uniopt-backend", "array_api_strict")
    assert "test_shape[numpy] PASSED" in said
    assert "test_step[array_api_strict] PASSED" in said
    assert "5 passed" in said


def test_the_plugin_fails_where_a_named_library_is_missing(tmp_path: Path) -> None:
    said = pytest_in(tmp_path, "--uniopt-backend", "nolib")
    assert "nolib was asked for by name: No backend is called 'nolib'" in said
    assert "2 errors" in said


def test_the_plugin_takes_every_library_by_default(tmp_path: Path) -> None:
    said = pytest_in(tmp_path)
    for name in ("numpy", "torch", "jax", "mlx", "array_api_strict"):
        assert f"test_step[{name}] PASSED" in said
    assert "failed" not in said
