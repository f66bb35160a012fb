"""Other frameworks' constructors, defaults and conventions, on every library."""

from uniopt.dialects import keras as keras
from uniopt.dialects import mlx as mlx
from uniopt.dialects import optax as optax
from uniopt.dialects import torch as torch
