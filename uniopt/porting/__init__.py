"""State to and from other frameworks' optimizers, in the middle of a run."""

from uniopt.porting.keras import from_keras as from_keras
from uniopt.porting.keras import to_keras as to_keras
from uniopt.porting.mlx import from_mlx as from_mlx
from uniopt.porting.mlx import to_mlx as to_mlx
from uniopt.porting.optax import from_optax as from_optax
from uniopt.porting.optax import to_optax as to_optax
from uniopt.porting.torch import from_torch as from_torch
from uniopt.porting.torch import to_torch as to_torch
