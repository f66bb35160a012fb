"""The demonstration: it trains, compares, writes what it says, and refuses what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import uniopt
from uniopt import backends, tree
from uniopt.cli import main
from uniopt.cli.demo import comparison, network, training
from uniopt.cli.demo.data import batch_order, load_digits


def demo(out: Path, *words: str, names: tuple[str, ...] = ("numpy",)) -> int:
    return main(["demo", "--epochs", "1", "--out", str(out), *(f"--backend={name}" for name in names), *words])


def results(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "results.json").read_text())
    return record


def test_writes_the_record_the_plot_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path / "new" / "folder", names=("torch", "array_api_strict")) == 0
    out = tmp_path / "new" / "folder"
    printed = capsys.readouterr().out
    assert str(out) in printed.replace("\n", "")
    assert "array_api_strict: loss" in printed  # progress in lines, where there is no terminal
    record = results(out)
    assert record["provenance"]["uniopt"] == uniopt.__version__
    assert record["settings"]["optimizer"] == "adamw"
    assert record["settings"]["epochs"] == 1
    assert [entry["library"] for entry in record["libraries"]] == ["numpy", "torch", "array_api_strict"]
    for entry in record["libraries"]:
        assert entry["status"] == "trained"
        assert entry["device"] == "cpu"
        assert entry["version"] == backends.get(entry["library"]).version()
        assert entry["step_losses"][0][0] == pytest.approx(2.3, abs=0.2)  # ln 10, before the first step
        assert entry["final_loss"] < 1.2
        assert entry["test_accuracy"] > 0.7
        assert entry["seconds"] > 0
        assert len(entry["step_losses"][0]) == 11
        (ulp,) = entry["difference_from_numpy"]["ulp"]
        assert ulp == 0 if entry["library"] == "numpy" else ulp < 200
        assert entry["gradient"] == ("autodiff" if entry["library"] == "torch" else "by hand")
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_float64_on_every_library_that_computes_in_it(tmp_path: Path) -> None:
    names = ("torch", "jax", "mlx", "dask", "array_api_strict")
    assert demo(tmp_path, "--dtype", "float64", names=names) == 0
    reference, *others = results(tmp_path)["libraries"]
    assert [entry["library"] for entry in others] == list(names)
    for entry in others:
        assert entry["final_loss"] == pytest.approx(reference["final_loss"], rel=1e-12)
        assert entry["difference_from_numpy"]["absolute"][0] < 1e-12  # float32 anywhere would leave 1e-8
        if entry["gradient"] == "autodiff":
            assert entry["gradient_check"]["ulp"] < 16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_parameters(dtype: str, tmp_path: Path) -> None:
    assert demo(tmp_path, "--dtype", dtype, names=("torch",)) == 0
    for entry in results(tmp_path)["libraries"]:
        assert entry["test_accuracy"] > 0.7
        assert entry["difference_from_numpy"]["ulp"][0] <= 4


def test_hyperparameters_and_schedules_reach_the_optimizer(tmp_path: Path) -> None:
    words = ["--optimizer=sgd", "--set=momentum=0.5", "--set=nesterov=True"]
    assert demo(tmp_path, *words, "--set=learning_rate=linear_schedule(0.2, 0.0, 11)") == 0
    made = results(tmp_path)["settings"]["transformation"]
    assert made == repr(uniopt.sgd(uniopt.linear_schedule(0.2, 0.0, 11), 0.5, nesterov=True))


def test_steps_are_those_of_the_optimizer_on_the_same_batches(tmp_path: Path) -> None:
    words = ["--dtype=float64", "--seed=5", "--optimizer=sgd", "--set=learning_rate=0.1", "--set=momentum=0.9"]
    assert demo(tmp_path, *words) == 0
    digits = load_digits()
    loss_and_gradient = network.Network(backends.get("numpy")).loss_and_gradient
    params = tree.map(lambda x: x.astype(np.float64), network.initial_parameters(5))
    momentum = tree.map(np.zeros_like, params)
    losses = []
    for batch in batch_order(1, 5)[0]:
        images, labels = digits.train_images[batch], digits.train_labels[batch]
        loss, gradient = loss_and_gradient(params, images.astype(np.float64), labels.astype(np.float64))
        momentum = tree.map(lambda m, g: 0.9 * m + g, momentum, gradient)
        params = tree.map(lambda p, m: p - 0.1 * m, params, momentum)
        losses.append(float(loss))
    assert results(tmp_path)["libraries"][0]["step_losses"][0] == pytest.approx(losses, rel=1e-12)


def test_differences_are_in_ulp_of_each_leafs_size_and_absolute() -> None:
    start = [np.asarray([0.0, 0.0]), np.asarray([100.0])]
    expected = [[np.asarray([1.0, 0.5]), np.asarray([100.0])]]
    found = [[np.asarray([1.0, 0.5 + 2.0**-20]), np.asarray([100.0 + 2.0**-16])]]
    # one ulp of float32 is 2**-23 near 1, and 2**-17 near 100
    assert comparison.differences(found, expected, start, "float32") == [(8.0, 2.0**-16)]


def test_same_seed_same_run_and_another_seed_another(tmp_path: Path) -> None:
    losses = []
    for seed in (3, 3, 4):
        assert demo(tmp_path, "--seed", str(seed)) == 0
        losses.append(results(tmp_path)["libraries"][0]["step_losses"])
    assert losses[0] == losses[1] != losses[2]


def test_device_by_name(tmp_path: Path) -> None:
    assert demo(tmp_path, "--device", "device1", names=("array_api_strict",)) == 0
    assert [entry["device"] for entry in results(tmp_path)["libraries"]] == ["cpu", "device1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer=adamx"], "no optimizer is called 'adamx'. Known: adabelief, adadelta,"),
        (["--set=lr=0.1"], "adamw has no parameter 'lr'. It has: learning_rate, b1, b2,"),
        (["--set=b1"], "expected key=value"),
        (["--set=b1=2"], "b1 is 2, expected a number in [0, 1)"),
        (["--set=b1=[1"], "no Python literal"),
        (["--set=learning_rate=__import__('os')"], "no Python literal"),
        (["--set=learning_rate=linear_schedule(1)"], "missing 2 required"),
        (["--set=learning_rate=linear_schedule('a', 0, 1)"], "init_value is 'a'"),
        (["--backend=nunpy"], "no backend is called 'nunpy'. Known: numpy,"),
        (["--dtype=int8"], "no dtype is called 'int8'. Known: float32,"),
        (["--device=abacus"], "no library here has a device 'abacus'. Devices: numpy: cpu"),
        (["--epochs=0"], "--epochs is 0, expected 1 or more"),
        (["--seed=-1"], "--seed is -1, expected 0 or more"),
        (["--out=/dev/null/there"], "--out: /dev/null/there cannot be made"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(tmp_path, *words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("uniopt demo: error: ")
    assert message in err


def test_a_library_asked_for_by_name_has_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dtype=bfloat16", names=("dask",)) == 1
    captured = capsys.readouterr()
    assert "dask was asked for, but did not run: dask has no dtype 'bfloat16'" in captured.err
    assert "dask: not run: dask has no dtype 'bfloat16'" in captured.out
    entry = results(tmp_path)["libraries"][1]
    assert entry["status"] == "not run"
    assert "bfloat16" in entry["reason"]


def test_a_library_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("out of beads")

    monkeypatch.setattr(backends.get("torch"), "value_and_grad", lambda f: broken)
    assert demo(tmp_path, names=("torch", "array_api_strict")) == 1
    assert "torch failed: ValueError: out of beads" in capsys.readouterr().err
    _, torch, strict = results(tmp_path)["libraries"]
    assert torch["status"] == "failed"
    assert "Traceback" in torch["traceback"]
    assert strict["status"] == "trained"


def test_a_wrong_gradient_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = network.Network.loss_and_gradient

    def wrong(self: network.Network, params: Any, images: Any, labels: Any) -> Any:
        loss, gradient = right(self, params, images, labels)
        gradient["output"]["bias"] = gradient["output"]["bias"] * 1.001
        return loss, gradient

    monkeypatch.setattr(training.Network, "loss_and_gradient", wrong)
    assert demo(tmp_path, names=("torch",)) == 1
    assert "its autodiff and the gradient derived by hand differ by" in capsys.readouterr().err


def test_a_run_that_diverges_is_still_a_record(tmp_path: Path) -> None:
    words = ["--optimizer=sgd", "--set=learning_rate=1e38"]
    with pytest.warns(RuntimeWarning):
        assert demo(tmp_path, *words) == 0
    assert results(tmp_path)["libraries"][0]["final_loss"] is None
