"""What a command says in one line instead of a traceback."""

from __future__ import annotations

from importlib.util import find_spec


class CommandError(Exception):
    """A command cannot go on. The message says why, and the exit status is 2 where it was asked for the impossible."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def require(*modules: str, extra: str, command: str) -> None:
    """Raise CommandError, naming the extra that has them, unless all the modules are installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise CommandError(
            f"{command} needs {', '.join(missing)}, not installed here. Install it: pip install 'uniopt[{extra}]'",
            status=1,
        )
