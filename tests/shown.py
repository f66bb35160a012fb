"""What uniopt shows, by name; most of it is imported when it is first asked for."""

from __future__ import annotations

from typing import Any

import uniopt

SHOWN: dict[str, Any] = {name: getattr(uniopt, name) for name in dir(uniopt)}
