"""The directive ``public-names``: entries for all public names of a group or a module, read from the code.

``.. public-names:: optimizers`` documents the names of `uniopt` that belong to that group; ``.. public-names::
uniopt.tree`` those of the module. A name that is added to the code appears in the reference by itself.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

import uniopt
from uniopt import optimizers, schedules
from uniopt import typing as uniopt_typing

GROUPS = ("optimizers", "schedules", "transformations", "state-tools", "states", "types")

STATE_TOOLS = (
    "uniopt.checkpoints.reading",
    "uniopt.checkpoints.writing",
    "uniopt.keys",
    "uniopt.states",
    "uniopt.summary",
)
"""Where the functions are that read and write states; what they return stands beside them."""


def public_names(module: ModuleType) -> list[str]:
    """Return the public names of a module: what it re-exports as itself, or else what it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    source = Path(str(module.__file__))
    stub = source.with_suffix(".pyi")  # of a module that imports its names when they are first used
    body = ast.parse((stub if stub.exists() else source).read_text(encoding="utf-8")).body
    aliases = [alias for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    exported = [alias.name for alias in aliases if alias.asname == alias.name]
    defined = [name for name, x in vars(module).items() if getattr(x, "__module__", None) == module.__name__]
    return exported + [name for name in defined if not name.startswith("_")]


def group_of(name: str) -> str | None:
    """Return the group of a public name of `uniopt`; None for a module, which has its own page."""
    found = getattr(uniopt, name)
    if name in uniopt_typing.__all__:
        return "types"
    if inspect.ismodule(found):
        return None
    if getattr(optimizers, name, None) is found:  # a module may have the name of a transformation
        return "optimizers"
    if getattr(schedules, name, None) is found:
        return "schedules"
    if found.__module__ in STATE_TOOLS:
        return "state-tools"
    is_state = hasattr(found, "_fields") and not issubclass(found, uniopt.GradientTransformation)
    return "states" if is_state else "transformations"


def entry(module: str, name: str) -> list[str]:
    """Return the reStructuredText that documents one name."""
    found = getattr(importlib.import_module(module), name)
    if module == "uniopt" and name in uniopt_typing.__all__:
        analyzer = ModuleAnalyzer.for_module(uniopt_typing.__name__)
        analyzer.analyze()
        doc = analyzer.attr_docs["", name]
        return [f".. py:data:: {module}.{name}", "", *(f"   {line}" for line in doc)]
    if not inspect.isclass(found):
        return [f".. autofunction:: {module}.{name}"]
    if issubclass(found, BaseException):
        return [f".. autoexception:: {module}.{name}"]
    shows_members = not hasattr(found, "_fields")  # a NamedTuple's fields stand in its signature
    return [f".. autoclass:: {module}.{name}", *(["   :members:"] if shows_members else [])]


class PublicNames(SphinxDirective):
    """Document the names of a group of `uniopt`, or of a module."""

    required_arguments = 1

    def run(self) -> list[Any]:
        argument = self.arguments[0]
        if argument in GROUPS:
            module = "uniopt"
            names = [name for name in public_names(uniopt) if group_of(name) == argument]
        else:
            module = argument
            names = public_names(importlib.import_module(module))
            if module == "uniopt.backends":  # the errors stand in uniopt.errors
                names = [name for name in names if not name.endswith("Error")]
        lines = []
        if argument != "types":
            lines = [".. autosummary::", "   :nosignatures:", "", *(f"   {module}.{name}" for name in names), ""]
        for name in names:
            lines += [*entry(module, name), ""]
        return self.parse_text_to_nodes("\n".join(lines))


def mend_signature(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write type aliases by their names, and give a Protocol, which nobody calls, no signature."""
    if getattr(found, "_is_protocol", False):
        return "", None
    alias = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")  # as Sphinx 9 prints an alias in a union
    return alias.sub(r"\1", signature or "") or signature, alias.sub(r"\1", returns or "") or returns


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-signature", mend_signature)
    return {"parallel_read_safe": True}
