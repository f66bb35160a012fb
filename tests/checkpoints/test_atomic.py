"""Whenever a process is killed, the file is the old one or the new one; an error on the way leaves the old one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import uniopt
from uniopt.checkpoints import atomic

OLD, NEW = {"x": np.zeros(1000)}, {"x": np.ones(1000)}


def values(path: Path) -> set[float]:
    return set(uniopt.load(path)["['x']"].tolist())


def test_killed_at_many_random_moments(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), "150", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    while_writing, different = map(int, done.stdout.split())
    assert while_writing >= 30, "it was hardly ever killed while it wrote"
    assert different >= 2


@pytest.mark.parametrize("call", ["write", "flush", "fsync", "replace"])
def test_an_error_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    uniopt.save(path, OLD)

    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return fail if name == call else getattr(self.file, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            self.file.close()

    if call in ("write", "flush"):
        # The function under test closes it.
        monkeypatch.setattr(atomic, "open", lambda *args: Full(open(*args)), raising=False)  # noqa: SIM115
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        uniopt.save(path, NEW)
    assert values(path) == {0}
    assert os.listdir(tmp_path) == ["file"]


def test_an_interruption_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    uniopt.save(path, OLD)

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        uniopt.save(path, NEW)
    assert values(path) == {0}
    assert os.listdir(tmp_path) == ["file"]


def test_values_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        mode = os.fstat(descriptor)
        calls.append("folder" if stat.S_ISDIR(mode.st_mode) else f"file of {mode.st_size}")
        fsync(descriptor)

    def noted_replace(old: Any, new: Any) -> None:
        calls.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    uniopt.save(tmp_path / "file", NEW)
    assert calls == [f"file of {(tmp_path / 'file').stat().st_size}", "name", "folder"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    uniopt.save(folder / "file", OLD)
    (tmp_path / "latest").symlink_to(folder / "file")
    uniopt.save(tmp_path / "latest", NEW)
    assert (tmp_path / "latest").is_symlink()
    assert values(folder / "file") == {1}
    assert os.listdir(folder) == ["file"]


def test_permissions_are_those_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    uniopt.save(str(tmp_path / "file"), NEW)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    uniopt.save("file", NEW)
    assert values(tmp_path / "file") == {1}
