"""The transformations that are chained around a rule, and that aliases are made of."""

from uniopt.transforms.clip import clip_by_block_rms as clip_by_block_rms
from uniopt.transforms.decay import WeightDecaySchedule as WeightDecaySchedule
from uniopt.transforms.decay import add_decayed_weights as add_decayed_weights
from uniopt.transforms.ema import EmaState as EmaState
from uniopt.transforms.ema import ema as ema
from uniopt.transforms.mask import MaskedNode as MaskedNode
from uniopt.transforms.mask import MaskedState as MaskedState
from uniopt.transforms.mask import masked as masked
from uniopt.transforms.noise import AddNoiseState as AddNoiseState
from uniopt.transforms.noise import add_noise as add_noise
from uniopt.transforms.partition import PartitionState as PartitionState
from uniopt.transforms.partition import partition as partition
from uniopt.transforms.scale import EmptyState as EmptyState
from uniopt.transforms.scale import ScaleByScheduleState as ScaleByScheduleState
from uniopt.transforms.scale import identity as identity
from uniopt.transforms.scale import scale as scale
from uniopt.transforms.scale import scale_by_learning_rate as scale_by_learning_rate
from uniopt.transforms.scale import scale_by_schedule as scale_by_schedule
from uniopt.transforms.stateless import stateless as stateless
from uniopt.transforms.trace import TraceState as TraceState
from uniopt.transforms.trace import UndampenedTraceState as UndampenedTraceState
from uniopt.transforms.trace import trace as trace
from uniopt.transforms.trust_ratio import scale_by_param_block_rms as scale_by_param_block_rms
from uniopt.transforms.trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio
