"""``python -m uniopt``: the same as ``uniopt``."""

import sys

from uniopt.cli import main

sys.exit(main())
