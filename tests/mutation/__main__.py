"""``python -m tests.mutation [MODULE ...]``: how many faults were planted, and how many the suite has found."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable

import tests.conftest  # noqa: F401  # the environment of the libraries, before one of them is imported
from tests.mutation import rules, shims
from tests.mutation.corpus import Corpus, faults_of
from tests.mutation.trials import RAISES

HEADINGS = ("planted", "wrong numbers", "errors", "not found")


def main(patterns: list[str]) -> None:
    """Print a line for each module, and each fault that is not found."""
    total = Counter[str]()

    def measured(module: str, corpus: Corpus) -> None:
        total.update(measure(module, corpus))

    print(f"{'':32}" + "".join(f"{heading:>15}" for heading in HEADINGS))
    if chosen := _chosen(rules.MODULES, patterns):
        corpus = rules.corpus()
        for module in chosen:
            measured(module, corpus)
    for module in _chosen(shims.MODULES, patterns):
        shims.with_corpus(module, lambda corpus, module=module: measured(module, corpus))
    print(f"{'all':32}" + "".join(f"{total[heading]:15}" for heading in HEADINGS))


def measure(module: str, corpus: Corpus) -> Counter[str]:
    """Print and return how the faults of a module fare."""
    started, counts, missed = time.perf_counter(), Counter[str](), []
    for fault in faults_of(module):
        found = corpus.caught(fault)
        counts["planted"] += 1
        counts["errors" if f": {RAISES} " in found else "wrong numbers" if found else "not found"] += 1
        if not found:
            missed.append(f"{'=' if corpus.paths and not corpus.differs(fault) else ''}{fault.name}")
    print(f"{module:32}" + "".join(f"{counts[heading]:15}" for heading in HEADINGS), end="")
    print(f"{time.perf_counter() - started:9.1f} s", *missed, sep="\n", flush=True)
    return counts


def _chosen(modules: Iterable[str], patterns: list[str]) -> list[str]:
    return [module for module in modules if not patterns or any(pattern in module for pattern in patterns)]


if __name__ == "__main__":
    main(sys.argv[1:])
