"""The package works as people get it: built, installed in a fresh environment, used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import uniopt

ROOT = Path(__file__).parents[2]
USE = """
import pathlib
import numpy as np
import uniopt, uniopt.backends, uniopt.conformance
params = {"w": np.ones(3)}
tx = uniopt.adamw(1e-3)
updates, state = tx.update(params, tx.init(params), params)
assert abs(uniopt.apply_updates(params, updates)["w"] - 0.9989999).max() < 1e-7
home = pathlib.Path(uniopt.__file__).parent
assert (home / "py.typed").exists()
print(uniopt.__version__, home, pathlib.Path(uniopt.backends.__file__).parent)
"""


def run(*command: object, cwd: Path) -> str:
    # Without PYTHONPATH: only what is installed may be found.
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist of the checkout, and the wheel that is built from the sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return {"sdist": next(out.glob("*.tar.gz")), "wheel": next(out.glob("*.whl"))}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(distributions: dict[str, Path]) -> None:
    with zipfile.ZipFile(distributions["wheel"]) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in names} == {"uniopt"}
    assert {"uniopt/backends/numpy.py", "uniopt/conformance/__init__.py", "uniopt/py.typed"} <= set(names)
    assert not [name for name in names if "test" in Path(name).name]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist", "checkout", "editable"])
def test_it_works_in_a_fresh_environment(kind: str, distributions: dict[str, Path], tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    what = {"checkout": [ROOT], "editable": ["--editable", ROOT]}.get(kind) or [distributions[kind]]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--constraint", ROOT / "constraints.txt", *what, cwd=tmp_path)
    version, home, backends = run(python, "-c", USE, cwd=tmp_path).split()
    assert version == uniopt.__version__
    inside = str(environment.resolve())
    assert (home == str(ROOT / "uniopt")) if kind == "editable" else home.startswith(inside)
    assert backends == (str(ROOT / "backends") if kind == "editable" else home + "/backends")
