"""The optimizers, one family a file. Here a new one gets its line, by which conformance and the docs find it."""

from uniopt.optimizers.adam import adam as adam
from uniopt.optimizers.adam import adamw as adamw
from uniopt.optimizers.adam import amsgrad as amsgrad
from uniopt.optimizers.adam import nadam as nadam
from uniopt.optimizers.adam import nadamw as nadamw
from uniopt.optimizers.rmsprop import rmsprop as rmsprop
from uniopt.optimizers.sgd import noisy_sgd as noisy_sgd
from uniopt.optimizers.sgd import sgd as sgd
