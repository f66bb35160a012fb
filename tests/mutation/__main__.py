"""``python -m tests.mutation [MODULE ...]``: how many faults were planted, and how many the suite has found."""

from __future__ import annotations

import sys
import time
from collections import Counter

import tests.conftest  # noqa: F401  # the environment of the libraries, before one of them is imported
from tests.mutation.corpus import MODULES, RAISES, Corpus, faults_of

HEADINGS = ("planted", "wrong numbers", "errors", "not found")


def main(patterns: list[str]) -> None:
    """Print a line for each module, and each fault that is not found."""
    corpus, total = Corpus(), Counter[str]()
    print(f"{'':32}" + "".join(f"{heading:>15}" for heading in HEADINGS))
    for module in MODULES:
        if patterns and not any(pattern in module for pattern in patterns):
            continue
        started, counts, missed = time.perf_counter(), Counter[str](), []
        for fault in faults_of(module):
            found = corpus.caught(fault)
            counts["planted"] += 1
            counts["errors" if f": {RAISES} " in found else "wrong numbers" if found else "not found"] += 1
            if not found:
                missed.append(f"{'' if corpus.differs(fault) else '='}{fault.name}")
        total += counts
        print(f"{module:32}" + "".join(f"{counts[heading]:15}" for heading in HEADINGS), end="")
        print(f"{time.perf_counter() - started:9.1f} s", *missed, sep="\n", flush=True)
    print(f"{'all':32}" + "".join(f"{total[heading]:15}" for heading in HEADINGS))


if __name__ == "__main__":
    main(sys.argv[1:])
