"""Optimizers written once against the Python Array API standard, for NumPy, CuPy, JAX, PyTorch, MLX and Dask arrays."""

import os as _os

_here = _os.path.dirname(__file__)
if not _os.path.isdir(_os.path.join(_here, "backends")):
    # In a checkout, `backends` and `conformance` stand beside this package; a wheel has them inside.
    __path__.append(_os.path.dirname(_here))

from uniopt import backends as backends
from uniopt import errors as errors
from uniopt import random as random
from uniopt import tree as tree
from uniopt.chain import chain as chain
from uniopt.chain import named_chain as named_chain
from uniopt.leafwise import leafwise as leafwise
from uniopt.optimizers import adam as adam
from uniopt.optimizers import adamw as adamw
from uniopt.optimizers import amsgrad as amsgrad
from uniopt.optimizers import nadam as nadam
from uniopt.optimizers import nadamw as nadamw
from uniopt.optimizers import noisy_sgd as noisy_sgd
from uniopt.optimizers import rmsprop as rmsprop
from uniopt.optimizers import sgd as sgd
from uniopt.optimizers.adam import ScaleByAdamState as ScaleByAdamState
from uniopt.optimizers.adam import ScaleByAmsgradState as ScaleByAmsgradState
from uniopt.optimizers.adam import scale_by_adam as scale_by_adam
from uniopt.optimizers.adam import scale_by_amsgrad as scale_by_amsgrad
from uniopt.optimizers.rmsprop import ScaleByRmsState as ScaleByRmsState
from uniopt.optimizers.rmsprop import ScaleByRmsWithCountState as ScaleByRmsWithCountState
from uniopt.optimizers.rmsprop import ScaleByRStdDevState as ScaleByRStdDevState
from uniopt.optimizers.rmsprop import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
from uniopt.optimizers.rmsprop import scale_by_rms as scale_by_rms
from uniopt.optimizers.rmsprop import scale_by_stddev as scale_by_stddev
from uniopt.schedules import constant_schedule as constant_schedule
from uniopt.schedules import cosine_decay_schedule as cosine_decay_schedule
from uniopt.schedules import join_schedules as join_schedules
from uniopt.schedules import linear_schedule as linear_schedule
from uniopt.schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from uniopt.transformation import GradientTransformation as GradientTransformation
from uniopt.transforms import AddNoiseState as AddNoiseState
from uniopt.transforms import EmptyState as EmptyState
from uniopt.transforms import MaskedNode as MaskedNode
from uniopt.transforms import MaskedState as MaskedState
from uniopt.transforms import ScaleByScheduleState as ScaleByScheduleState
from uniopt.transforms import TraceState as TraceState
from uniopt.transforms import WeightDecaySchedule as WeightDecaySchedule
from uniopt.transforms import add_decayed_weights as add_decayed_weights
from uniopt.transforms import add_noise as add_noise
from uniopt.transforms import identity as identity
from uniopt.transforms import masked as masked
from uniopt.transforms import scale as scale
from uniopt.transforms import scale_by_learning_rate as scale_by_learning_rate
from uniopt.transforms import scale_by_schedule as scale_by_schedule
from uniopt.transforms import stateless as stateless
from uniopt.transforms import trace as trace
from uniopt.typing import Array as Array
from uniopt.typing import Mask as Mask
from uniopt.typing import Scalar as Scalar
from uniopt.typing import ScalarOrSchedule as ScalarOrSchedule
from uniopt.typing import Schedule as Schedule
from uniopt.typing import Tree as Tree
from uniopt.updates import apply_updates as apply_updates

__version__ = "0.1.0"
