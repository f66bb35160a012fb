"""Replacing a file as a whole: whoever looks, and whenever the process is killed, the old or the new one is there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file beside `path`, which takes its place when the block ends without an error.

    A process that is killed in between leaves a file with the suffix ``.tmp``, which can be removed.
    """
    target = Path(os.path.realpath(path))  # a link stays, and points to the new file
    new = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(new, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # before the name, or a crash of the machine may leave it with nothing behind it
        os.replace(new, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
