"""Other frameworks' constructors, defaults and conventions, on every library."""

from uniopt.dialects import optax as optax
from uniopt.dialects import torch as torch
