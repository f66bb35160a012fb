"""The optimizers, and what is put around them, once more, as naive loops over Python floats: the truth to test against.

Each is written from its paper, one float64 element at a time, and shares no code with the library; where it follows a
convention other than the paper's, it says which. It yields the parameters after every step. A gradient of None skips
its leaf: the parameter and its slots stay, while the step count, which all leaves share, goes on. A rate may be a
function of the count n = 0, 1, 2, ... What the formula does not define raises (ZeroDivisionError, ValueError).

Names and defaults are the library's; the dtypes (``mu_dtype`` and the like) are left out, as all is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from uniopt.conformance.reference.adabelief import adabelief
from uniopt.conformance.reference.adafactor import adafactor
from uniopt.conformance.reference.adagrad import adadelta, adagrad
from uniopt.conformance.reference.adam import adam, adamw, amsgrad, nadam, nadamw
from uniopt.conformance.reference.adamax import adamax, adamaxw
from uniopt.conformance.reference.adan import adan
from uniopt.conformance.reference.asgd import asgd
from uniopt.conformance.reference.asgd import asgd_average as asgd_average
from uniopt.conformance.reference.ftrl import ftrl
from uniopt.conformance.reference.leaf import Leaf as Leaf
from uniopt.conformance.reference.muon import muon
from uniopt.conformance.reference.novograd import novograd
from uniopt.conformance.reference.optimistic import optimistic_adam, optimistic_adam_v2, optimistic_gradient_descent
from uniopt.conformance.reference.polyak_sgd import polyak_sgd
from uniopt.conformance.reference.radam import radam
from uniopt.conformance.reference.rmsprop import rmsprop
from uniopt.conformance.reference.rprop import rprop
from uniopt.conformance.reference.schedule_free import schedule_free_adamw, schedule_free_sgd
from uniopt.conformance.reference.sgd import noisy_sgd, sgd
from uniopt.conformance.reference.sign import lion, sign_sgd, signum
from uniopt.conformance.reference.sm3 import sm3
from uniopt.conformance.reference.trust_ratio import fromage, lamb, lars
from uniopt.conformance.reference.yogi import yogi

OPTIMIZERS: dict[str, Callable[..., Iterator[list[Leaf]]]] = {
    "adabelief": adabelief,
    "adadelta": adadelta,
    "adafactor": adafactor,
    "adagrad": adagrad,
    "adam": adam,
    "adamax": adamax,
    "adamaxw": adamaxw,
    "adamw": adamw,
    "adan": adan,
    "amsgrad": amsgrad,
    "asgd": asgd,
    "fromage": fromage,
    "ftrl": ftrl,
    "lamb": lamb,
    "lars": lars,
    "lion": lion,
    "muon": muon,
    "nadam": nadam,
    "nadamw": nadamw,
    "noisy_sgd": noisy_sgd,
    "novograd": novograd,
    "optimistic_adam": optimistic_adam,
    "optimistic_adam_v2": optimistic_adam_v2,
    "optimistic_gradient_descent": optimistic_gradient_descent,
    "polyak_sgd": polyak_sgd,
    "radam": radam,
    "rmsprop": rmsprop,
    "rprop": rprop,
    "schedule_free_adamw": schedule_free_adamw,
    "schedule_free_sgd": schedule_free_sgd,
    "sgd": sgd,
    "sign_sgd": sign_sgd,
    "signum": signum,
    "sm3": sm3,
    "yogi": yogi,
}
