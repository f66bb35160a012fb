"""``python -m uniopt.conformance``: the same as ``uniopt conformance``."""

import argparse
import sys

from uniopt.conformance import cli

parser = argparse.ArgumentParser(
    prog="python -m uniopt.conformance", formatter_class=argparse.RawDescriptionHelpFormatter
)
cli.add_arguments(parser)
sys.exit(cli.run(parser.parse_args()))
