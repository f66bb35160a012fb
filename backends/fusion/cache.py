"""Compiled kernels on disk, named by all that decides their content. Whatever is wrong with the folder, or with an
entry, means that the kernel is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_DIGEST = 32  # bytes


def folder() -> Path:
    """Return where compiled kernels are kept: $UNIOPT_CACHE_DIR, or the platform's folder for caches."""
    if chosen := os.environ.get("UNIOPT_CACHE_DIR"):
        return Path(chosen)
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return caches / "uniopt" / "kernels"


def read(key: str) -> bytes | None:
    """Return what was written under the key; None if nothing was, or if it is not what was written."""
    try:
        entry = (folder() / key).read_bytes()
    except OSError:
        return None
    digest, content = entry[:_DIGEST], entry[_DIGEST:]
    return content if _digest(key, content) == digest else None


def write(key: str, content: bytes) -> None:
    """Keep the content for a later `read`, here or in another process; do nothing where that is not possible."""
    with suppress(OSError):
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder(), prefix=f".{key[:8]}")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_digest(key, content) + content)
            os.replace(name, folder() / key)  # no reader ever sees half an entry
        except OSError:
            os.unlink(name)
            raise


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + content).digest()
