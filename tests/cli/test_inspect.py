"""`uniopt inspect` shows what a checkpoint holds without reading its values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import uniopt
from uniopt.cli import main

TX = uniopt.chain(uniopt.clip_by_global_norm(1.0), uniopt.adamw(1e-3, weight_decay=0.25))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "140")
    state = TX.init({"w": torch.zeros(2, 3), "b": torch.zeros(3, dtype=torch.bfloat16), "none": None})
    uniopt.save(tmp_path / "file", {"state": state, "step [bold]": 7}, TX)
    return tmp_path / "file"


def test_slots_hyperparameters_and_what_wrote_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{path.stat().st_size:,} bytes, version 1, written by uniopt {uniopt.__version__}" in out.replace("\n", " ")
    assert f"torch {torch.__version__}" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["['state'][1][0]ScaleByAdamState.mu"] == ["2", "(3,),", "(2,", "3)", "float32", "36"]
    assert rows["['state'][1][0]ScaleByAdamState.count"] == ["1", "()", "int32", "4"]
    assert rows["total"] == ["5", "int32,", "float32", "76"]
    assert rows["['state'][1][0]ScaleByAdamState.nu['none']"] == ["None"]
    assert "['step [bold]']" in out
    assert rows["clip_by_global_norm"] == ["max_norm=1.0"]
    assert "weight_decay=0.25" in out


def test_values_are_not_read(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from uniopt.checkpoints import bits

    monkeypatch.setattr(bits, "from_file", None)
    assert main(["inspect", str(path)]) == 0
    assert "ScaleByAdamState.mu" in capsys.readouterr().out


def test_parts_within_others_are_indented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    groups = {"a": uniopt.count_by_leaf(uniopt.trace(0.9)), "b": uniopt.chain(uniopt.scale(2.0), uniopt.scale(3.0))}
    tx = uniopt.partition(groups, {"x": "a", "y": "b"})
    uniopt.save(tmp_path / "file", tx.init({"x": np.ones(1), "y": np.ones(1)}), tx)
    assert main(["inspect", str(tmp_path / "file")]) == 0
    lines = [line[2:] for line in capsys.readouterr().out.partition("Transformation\n")[2].splitlines()]
    names = [line[: len(line) - len(line.lstrip())] + line.split()[0] for line in lines if line.strip()]
    assert names == ["partition", "  'a':", "    count_by_leaf", "      trace", "  'b':", "    scale", "    scale"]
    assert "param_labels={'x': 'a', 'y': 'b'}" in lines[0]


def test_nothing_is_cut_off_in_a_narrow_terminal(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["inspect", str(path)]) == 0
    assert "…" not in capsys.readouterr().out


def test_a_transformation_with_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tx = uniopt.stateless(lambda updates, params: updates)
    uniopt.save(tmp_path / "file", tx.init(np.ones(1)), tx)
    assert main(["inspect", str(tmp_path / "file")]) == 0
    assert "stateless" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and so on", b"\x80\x04K\x01."])
def test_what_is_no_checkpoint_is_said_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(content)
    assert main(["inspect", str(tmp_path / "file")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"uniopt inspect: error: {tmp_path / 'file'} ")
    assert err.count("\n") == 1
    assert main(["inspect", str(tmp_path / "nothing")]) == 1
    assert "No such file" in capsys.readouterr().err
