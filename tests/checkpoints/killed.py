"""Savers that are killed: ``python killed.py FOLDER TRIALS SEED``.

It prints how many were killed while they wrote, and how many different states were found.

Each trial forks a process that saves one state after another into one file, and kills it a random time after the first
one, within that which two of them take. The file must then be one of these states, whole, and none before the last of
which the process said that it was saved.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import uniopt

LEAVES, SIZE = 12, 40_000


def state(k: int) -> Any:
    return {f"leaf {i}": np.full(SIZE, k, np.float32) for i in range(LEAVES)}


def save_on_and_on(path: Path, said: int) -> None:
    k = 0
    while True:
        k += 1
        uniopt.save(path, state(k))
        os.write(said, k.to_bytes(4, "little"))


def trial(folder: Path, part: float) -> tuple[int, bool]:
    """Return which state was found in the end, and whether the process was killed while it wrote the next one."""
    path = folder / "file"
    begin = time.perf_counter()
    uniopt.save(path, state(0))
    seconds = part * (time.perf_counter() - begin)
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        save_on_and_on(path, said)
    os.close(said)
    assert os.read(heard, 4) == (1).to_bytes(4, "little")
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(heard, "rb") as pipe:
        acknowledged = 1 + len(pipe.read()) // 4
    loaded = uniopt.load(path, like=state(0))
    (found,) = np.unique(np.stack(list(loaded.values())))
    assert acknowledged <= found <= acknowledged + 1, (acknowledged, found)
    left = list(folder.glob(".file.*.tmp"))
    for other in left:
        other.unlink()
    assert os.listdir(folder) == ["file"]
    return int(found), bool(left)


def main(folder: str, trials: str, seed: str) -> None:
    draw = random.Random(int(seed))
    found = [trial(Path(folder), draw.uniform(0, 2)) for _ in range(int(trials))]
    print(sum(left for _, left in found), len({k for k, _ in found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
