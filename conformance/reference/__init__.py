"""The optimizers once more, as naive loops over Python floats: the truth that the library is tested against.

Each is written from its paper, one float64 element at a time, and shares no code with the library; where it follows a
convention other than the paper's, it says which. It yields the parameters after every step. A gradient of None skips
its leaf: the parameter and its slots stay, while the step count, which all leaves share, goes on. A rate may be a
function of the count n = 0, 1, 2, ... What the formula does not define raises (ZeroDivisionError, ValueError).

Names and defaults are the library's; the dtypes (``mu_dtype`` and the like) are left out, as all is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from uniopt.conformance.reference.adam import adam, adamw, amsgrad, nadam, nadamw
from uniopt.conformance.reference.leaf import Leaf as Leaf
from uniopt.conformance.reference.rmsprop import rmsprop
from uniopt.conformance.reference.sgd import noisy_sgd, sgd

OPTIMIZERS: dict[str, Callable[..., Iterator[list[Leaf]]]] = {
    "adam": adam,
    "adamw": adamw,
    "amsgrad": amsgrad,
    "nadam": nadam,
    "nadamw": nadamw,
    "noisy_sgd": noisy_sgd,
    "rmsprop": rmsprop,
    "sgd": sgd,
}
