"""What the suite has shown of the libraries that it compares with: data, with a script each that shows it again."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

_MOST_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """Something that a library does otherwise than its formula, its documentation or another of its versions says.

    Attributes
    ----------
    id
        The name that the command line knows it by.
    library
        The library that it is about.
    title, text
        What happens, and why.
    expected
        What would be expected of the script.
    found
        What the script prints.
    script
        A Python program that shows it.
    """

    id: str
    library: str
    title: str
    text: str
    expected: str
    found: str
    script: str

    def version(self) -> str | None:
        """Return the version of the library that is here, or None without it."""
        try:
            return version(self.library)
        except PackageNotFoundError:
            return None

    def reproduce(self) -> str:
        """Run the script in a process of its own, and return what it prints.

        Raises
        ------
        RuntimeError
            If it fails; the message is the end of its error output.
        """
        done = subprocess.run(
            [sys.executable, "-c", self.script], capture_output=True, text=True, check=False, timeout=_MOST_SECONDS
        )
        if done.returncode:
            raise RuntimeError(f"The script of {self.id} failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()


def findings() -> list[Finding]:
    """Return all findings."""
    text = files("uniopt.conformance").joinpath("findings.toml").read_text(encoding="utf-8")
    return [Finding(**entry) for entry in tomllib.loads(text)["finding"]]


def show(names: list[str]) -> int:
    """Run the scripts of the findings that are named, or of all, print what comes of them, and return the exit code.

    It is 0 if all print what is written down, 1 if one does not, which may mean that a library has changed.
    """
    known = {finding.id: finding for finding in findings()}
    if unknown := [name for name in names if name not in known]:
        print(f"uniopt conformance findings: no finding is called {unknown[0]!r}. Known: {', '.join(known)}.")
        return 2
    status = 0
    for finding in [known[name] for name in names] or known.values():
        here = finding.version()
        print(f"{finding.id}: {finding.title} ({finding.library} {here or 'is not installed'})")
        if here is None:
            print("  NOT RUN")
            continue
        found = finding.reproduce()
        lines = [f"expected {finding.expected}", *(f"found    {line}" for line in found.splitlines())]
        if found != finding.found:
            status = 1
            lines.append(f"but {finding.found!r} is written down: has the library changed?")
        print("\n".join(f"  {line}" for line in lines))
    return status
