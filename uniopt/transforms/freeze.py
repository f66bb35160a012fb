"""Holding some of the parameters still."""

from __future__ import annotations

from dataclasses import dataclass

from uniopt import hyperparameters, tree
from uniopt.transformation import GradientTransformation
from uniopt.transforms.mask import masked
from uniopt.transforms.partition import partition
from uniopt.typing import Mask, Tree
