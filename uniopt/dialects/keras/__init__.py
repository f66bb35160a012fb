"""The optimizers of ``keras.optimizers`` on every library: its names, parameters, defaults and conventions.

As measured with keras 3.15.1. All of them have these parameters besides their own:

``weight_decay``
    The parameters decay first, :math:`p - p\\lambda\\eta`, and the optimizer is given those; see `uniopt.decay_first`.
``clipnorm``, ``clipvalue``, ``global_clipnorm``
    One of them bounds the norm of each gradient, its elements, or the norm of all gradients together.
``use_ema``, ``ema_momentum``, ``ema_overwrite_frequency``
    A running mean of the parameters, which `uniopt.averaged_params` returns, and in how many steps it takes their place
    once; see `uniopt.params_ema` and `uniopt.overwrite_params`.
``loss_scale_factor``
    The gradients are divided by it.
``gradient_accumulation_steps``
    The number of gradients of which an update takes the mean; see `uniopt.MultiSteps`. Bias corrections count updates;
    schedules count gradients, and the running mean of the parameters goes on with each of them.
``name``
    Accepted, and of no effect.
``weight_decay_mask``
    In place of keras's method ``exclude_from_weight_decay``: which parameters decay, a tree of bools, a prefix of one,
    or a function from the parameters to one.

A learning rate that is a function is a schedule of the step count, which starts at 0.

Examples
--------
>>> import numpy as np
>>> from uniopt.dialects import keras
>>> tx = keras.SGD(learning_rate=0.5, weight_decay=0.25, clipvalue=1.0, weight_decay_mask={"w": True, "b": False})
>>> params = {"w": np.asarray([4.0]), "b": np.asarray([4.0])}
>>> grads = {"w": np.asarray([2.0]), "b": np.asarray([2.0])}
>>> tx.update(grads, tx.init(params), params)[0]
{'w': array([-1.]), 'b': array([-0.5])}
"""

from uniopt.dialects.keras.adam import Adam as Adam
from uniopt.dialects.keras.adam import Adamax as Adamax
from uniopt.dialects.keras.adam import AdamW as AdamW
from uniopt.dialects.keras.adam import Lamb as Lamb
from uniopt.dialects.keras.adam import Nadam as Nadam
from uniopt.dialects.keras.adam import ScheduleFreeAdamW as ScheduleFreeAdamW
from uniopt.dialects.keras.gradient_descent import SGD as SGD
from uniopt.dialects.keras.gradient_descent import Ftrl as Ftrl
from uniopt.dialects.keras.gradient_descent import Lion as Lion
from uniopt.dialects.keras.gradient_descent import Muon as Muon
from uniopt.dialects.keras.second_moments import Adadelta as Adadelta
from uniopt.dialects.keras.second_moments import Adafactor as Adafactor
from uniopt.dialects.keras.second_moments import Adagrad as Adagrad
from uniopt.dialects.keras.second_moments import RMSprop as RMSprop
