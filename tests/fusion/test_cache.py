"""Compiled kernels on disk: found by another process, never trusted, never needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from uniopt.backends.fusion import cache
from uniopt.backends.fusion.kernel import Instruction, Kernel, Load, Operand, Value
from uniopt.backends.fusion.machine import Machine

KERNEL = Kernel(
    1, (Operand("float64", "next"),), (), (Instruction("negative", "float64", (Load(0),)),), ((0, Value(0)),)
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder, which is not there yet."""
    monkeypatch.setenv("UNIOPT_CACHE_DIR", str(tmp_path / "cache" / "kernels"))
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled from now on."""
    texts: list[str] = []
    really = Machine.compile

    def compile(machine: Machine, text: str) -> bytes:
        texts.append(text)
        return really(machine, text)

    monkeypatch.setattr(Machine, "compile", compile)
    return texts


def works(machine: Machine | None = None) -> bool:
    """Load the kernel as a new process does, and run it."""
    (run,) = (machine or Machine("generic", "")).load([KERNEL])
    x = np.arange(100.0)
    table = np.array([100, x.ctypes.data, 8], dtype=np.int64)
    run(table.ctypes.data, 1, 0)
    return x.tolist() == (-np.arange(100.0)).tolist()


def test_a_second_process_compiles_nothing(folder: Path) -> None:
    program = f"""
import sys
from uniopt.backends.fusion.kernel import *
from uniopt.backends.fusion.machine import Machine, load
Machine.compile = None if sys.argv[1] == "must find it" else Machine.compile
load([Kernel(*{KERNEL.text})])
"""
    command = [sys.executable, "-c", program]
    failed = subprocess.run([*command, "must find it"], capture_output=True, text=True, check=False)
    assert "'NoneType' object is not callable" in failed.stderr
    subprocess.run([*command, "may compile"], check=True)
    assert len(list(folder.iterdir())) == 1
    subprocess.run([*command, "must find it"], check=True)


def test_a_kernel_is_compiled_once(compiled: list[str]) -> None:
    machine = Machine("generic", "")
    assert works(machine)
    assert works(machine)
    assert works()
    assert len(compiled) == 1
    assert machine.load([KERNEL, KERNEL]) == 2 * machine.load([KERNEL])


def test_each_processor_has_its_own(folder: Path, compiled: list[str]) -> None:
    assert works(Machine("generic", ""))
    assert works(Machine("generic", "-outline-atomics"))
    assert len(compiled) == len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["one byte is another", "the end is missing", "something follows", "empty"])
def test_a_damaged_entry_is_made_again(folder: Path, compiled: list[str], damage: str) -> None:
    assert works()
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    places = range(0, len(content), 7)
    for i in places:
        damaged = bytearray(content)
        damaged[i] ^= 1
        versions = {
            "one byte is another": damaged,
            "the end is missing": content[:i],
            "something follows": content + content[: i + 1],
            "empty": b"",
        }
        entry.write_bytes(versions[damage])
        assert cache.read(entry.name) is None
    assert works()
    assert len(compiled) == 2
    assert entry.read_bytes() == content


def test_an_entry_under_another_name_is_made_again(folder: Path, compiled: list[str]) -> None:
    assert works()
    (entry,) = folder.iterdir()
    assert works(Machine("generic", "-outline-atomics"))
    (other,) = {*folder.iterdir()} - {entry}
    other.replace(entry)
    assert works()
    assert len(compiled) == 3


def test_a_folder_that_cannot_be(folder: Path, compiled: list[str]) -> None:
    folder.parent.write_bytes(b"a file stands in its place")
    assert works()
    assert works()
    assert len(compiled) == 2


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="no folder is read-only to this user")
def test_a_folder_that_is_read_only(folder: Path, compiled: list[str]) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    assert works()
    assert works()
    assert len(compiled) == 2
    folder.chmod(0o700)


def test_only_whole_entries_are_ever_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is cut short, by a full disk or the end of the process, leaves what was there before."""

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    cache.write("key", b"before")
    monkeypatch.setattr(os, "replace", full)
    cache.write("key", b"after")
    assert cache.read("key") == b"before"
    assert [x.name for x in folder.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"UNIOPT_CACHE_DIR": "/chosen", "XDG_CACHE_HOME": "/xdg"}, "/chosen"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/uniopt/kernels"),
        ("linux", {}, "~/.cache/uniopt/kernels"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "~/Library/Caches/uniopt/kernels"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/uniopt/kernels"),
        ("win32", {}, "~/AppData/Local/uniopt/kernels"),
    ],
)
def test_where_it_is(
    platform: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNIOPT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.folder() == Path(expected).expanduser()
