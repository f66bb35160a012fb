"""`uniopt convert` turns torch's checkpoints into files from which training goes on, and runs nothing in them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import uniopt
from uniopt.cli import main


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))


def train(model: Any, optimizer: Any, steps: int) -> None:
    for k in range(steps):
        for i, p in enumerate(model.parameters()):
            p.grad = torch.cos(torch.arange(p.numel()) * 7.0 + i + k).reshape(p.shape)
        optimizer.step()


def grads(params: dict[str, Any], k: int) -> dict[str, Any]:
    shapes = [(name, x.shape) for name, x in params.items()]
    return {
        name: torch.cos(torch.arange(int(np.prod(shape))) * 7.0 + i + k).reshape(tuple(shape)).numpy()
        for i, (name, shape) in enumerate(shapes)
    }


def goes_on(path: Path, tx: Any, model: Any, optimizer: Any, names: list[str] | None = None) -> None:
    """Check that three steps from the file are those that torch takes."""
    own = [name for name, _ in model.named_parameters()]
    params = {to: p.detach().numpy().copy() for to, p in zip(names or own, model.parameters(), strict=True)}
    state = uniopt.load(path, like=tx.init(params))
    train(model, optimizer, 3)
    for k in range(3):
        updates, state = tx.update(grads(params, k), state, params)
        params = uniopt.apply_updates(params, updates)
    for found, p in zip(params.values(), model.parameters(), strict=True):
        np.testing.assert_allclose(found, p.detach().numpy(), rtol=1e-6, atol=1e-7)


TX = uniopt.dialects.torch.AdamW(lr=0.05, weight_decay=0.1)


@pytest.mark.parametrize("form", ["named", "beside the model", "lightning", "model in another file", "alone"])
def test_training_goes_on(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    given = model.named_parameters() if form == "named" else model.parameters()
    optimizer = torch.optim.AdamW(given, lr=0.05, weight_decay=0.1)
    train(model, optimizer, 4)
    own = {
        "beside the model": {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()},
        "lightning": {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()], "epoch": 3},
    }
    torch.save(own.get(form, optimizer.state_dict()), tmp_path / "in.pt")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    more = ["--model", str(tmp_path / "model.pt")] if form == "model in another file" else []
    assert main(["convert", str(tmp_path / "in.pt"), str(tmp_path / "out"), "--from", "torch", *more]) == 0
    out = capsys.readouterr().out
    assert "6 parameters" in out
    assert {"named": "the optimizer", "alone": "their positions"}.get(form, "the model") in out
    names = [str(i) for i in range(6)] if form == "alone" else None
    goes_on(tmp_path / "out", TX, model, optimizer, names)
    assert main(["inspect", str(tmp_path / "out")]) == 0
    assert "0.05" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
        ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
        ("Adafactor", {"lr": 0.1}),
        ("NAdam", {"lr": 0.01}),
    ],
)
def test_other_optimizers(name: str, hyper: dict[str, Any], tmp_path: Path) -> None:
    model = network()
    optimizer = getattr(torch.optim, name)(model.parameters(), **hyper)
    train(model, optimizer, 4)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "in.pt")
    assert main(["convert", str(tmp_path / "in.pt"), str(tmp_path / "out"), "--from", "torch"]) == 0
    goes_on(tmp_path / "out", getattr(uniopt.dialects.torch, name)(**hyper), model, optimizer)


def test_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": named[::2], "weight_decay": 0.3}, {"params": named[1::2], "lr": 0.01}], lr=0.05
    )
    train(model, optimizer, 4)
    torch.save(optimizer.state_dict(), tmp_path / "in.pt")
    assert main(["convert", str(tmp_path / "in.pt"), str(tmp_path / "out"), "--from", "torch"]) == 0
    tx, _ = uniopt.porting.from_torch(optimizer, model.named_parameters(), to="numpy")
    goes_on(tmp_path / "out", tx, model, optimizer)


def test_groups_without_names_are_not_given_those_of_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network()
    params = list(model.parameters())
    optimizer = torch.optim.AdamW([{"params": params[::2]}, {"params": params[1::2]}])
    train(model, optimizer, 1)
    torch.save({"optimizer": optimizer.state_dict(), "model": model.state_dict()}, tmp_path / "in.pt")
    command = ["convert", str(tmp_path / "in.pt"), str(tmp_path / "out"), "--from", "torch"]
    assert main(command) == 0
    assert "their positions" in capsys.readouterr().out
    torch.save(model.state_dict(), tmp_path / "model.pt")
    assert main([*command, "--model", str(tmp_path / "model.pt")]) == 2
    assert "2 groups of parameters and no names" in capsys.readouterr().err


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (Bomb(), ".mkdir beside tensors, numbers and containers of them, and is not read"),
        ({"args": argparse.Namespace(lr=0.1)}, "in.pt holds argparse.Namespace beside tensors"),
        ({"a": torch.ones(1)}, "has no state_dict of an optimizer"),
        ([1, 2], "It has a list"),
        ({"optimizer_states": [{"state": {}, "param_groups": []}] * 2}, "has 2 state_dict"),
        ({"state": {}, "param_groups": [{"params": [0], "lr": 0.1}]}, "--model"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(
    content: Any, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "in.pt")
    assert main(["convert", "in.pt", "out", "--from", "torch"]) == 1
    err = capsys.readouterr().err
    assert found in err
    assert err.count("\n") == 1
    assert os.listdir() == ["in.pt"]


def test_files_that_are_none_of_torchs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"hello", b"PK\x03\x04"):
        (tmp_path / "in").write_bytes(content)
        assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--from", "torch"]) == 1
        assert str(tmp_path / "in") in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "nothing"), str(tmp_path / "out"), "--from", "torch"]) == 1
    assert not (tmp_path / "out").exists()
