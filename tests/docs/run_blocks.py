"""Run code blocks of one Markdown page as a reader would: python run_blocks.py PAGE {page,console} LINE...

With `page`, the blocks share one namespace, as on a page that is read from top to bottom. With `console`, each block
is typed into a fresh Python console line by line, which a missing blank line after a loop would break. A page with a
comment ``<!-- continues: OTHER -->`` is read after that other page.
"""

from __future__ import annotations

import code
import doctest
import re
import sys
import types
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NEEDS = re.compile(r"<!-- needs: (\w+) -->\n+$")
_CONTINUES = re.compile(r"^<!-- continues: (\S+) -->$", re.MULTILINE)


class Block(NamedTuple):
    """One fence: what it is, where its code starts, and the library whose device it needs."""

    language: str
    source: str
    line: int
    needs: str | None


def blocks(page: Path) -> list[Block]:
    """Return the Python blocks of a Markdown page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        needs = _NEEDS.search(text[: match.start()])
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(match[1], match[2], line, needs[1] if needs else None))
    return found


def run_on_page(block: Block, page: str, names: dict[str, object]) -> None:
    """Run a block in a namespace; `pycon` blocks must print what they show."""
    if block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.source, page, "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block.source, names, page, page, block.line - 1)
    test.globs = names  # not a copy, so that later blocks see what this one defines
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(test, clear_globs=False)
    if runner.failures or not runner.tries:
        raise SystemExit(1)


def run_in_console(block: Block, page: str, names: dict[str, object]) -> None:
    """Type a block into a console, and stop at the first error."""
    console = Console(names, page)
    for line in [*block.source.splitlines(), ""]:
        more = console.push(line)
    if more:
        raise SystemExit(f"{page}:{block.line}: the block is not complete")


class Console(code.InteractiveConsole):
    """A console that ends with its first error."""

    def write(self, data: str) -> None:
        raise SystemExit(data)


def fresh_main() -> dict[str, object]:
    """Return the namespace of a new ``__main__`` module, where pickle and the registry look names up."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    return vars(module)


def run_pages_before(page: Path, names: dict[str, object]) -> None:
    """Run the blocks of the page that a page continues, if it does."""
    if (found := _CONTINUES.search(page.read_text(encoding="utf-8"))) is None:
        return
    before = page.parent / found[1]
    run_pages_before(before, names)
    for block in blocks(before):
        run_on_page(block, str(before), names)


def main(page: str, mode: str, *lines: str) -> None:
    names = fresh_main()
    run_pages_before(Path(page), names)
    for block in blocks(Path(page)):
        if str(block.line) not in lines:
            continue
        if mode == "console":
            run_in_console(block, page, fresh_main())
        else:
            run_on_page(block, page, names)


if __name__ == "__main__":
    main(*sys.argv[1:])
