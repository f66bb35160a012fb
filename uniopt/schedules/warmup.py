"""A straight rise, and what comes after it."""

from __future__ import annotations

from uniopt import hyperparameters
from uniopt.errors import HyperparameterError
from uniopt.schedules.cosine import cosine_decay_schedule
from uniopt.schedules.decay import exponential_decay, inverse_sqrt_schedule
from uniopt.schedules.join import join_schedules
from uniopt.schedules.polynomial import linear_schedule
from uniopt.typing import Scalar, Schedule


def warmup_constant_schedule(init_value: Scalar, peak_value: Scalar, warmup_steps: float) -> Schedule:
    """Return a straight rise, after which the value stays.

    Parameters
    ----------
    init_value
        The first value.
    peak_value
        The value after the rise.
    warmup_steps
        Number of steps of the rise; with 0 the value stays `init_value`, as in optax.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.warmup_constant_schedule(0.0, 1.0, warmup_steps=10)
    >>> schedule(5), schedule(10), schedule(100)
    (0.5, 1.0, 1.0)
    """
    return linear_schedule(init_value, peak_value, hyperparameters.steps("warmup_steps", warmup_steps))


def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: float,
    decay_steps: float,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Return a straight rise followed by a cosine fall.

    Parameters
    ----------
    init_value
        The first value.
    peak_value
        The value after the rise.
    warmup_steps
        Number of steps of the rise.
    decay_steps
        Number of steps altogether, the rise included.
    end_value
        The value at the end of the fall, and from then on.
    exponent
        Power of the cosine, as in `cosine_decay_schedule`.

    Raises
    ------
    HyperparameterError
        If no step is left for the fall.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=110)
    >>> schedule(5), schedule(10), schedule(60), schedule(110)
    (0.5, 1.0, 0.5, 0.0)
    """
    peak = hyperparameters.number("peak_value", peak_value)
    end = hyperparameters.number("end_value", end_value)
    warmup = hyperparameters.steps("warmup_steps", warmup_steps, at_least=0)
    total = hyperparameters.steps("decay_steps", decay_steps)
    if not total > warmup:
        raise HyperparameterError(
            f"decay_steps is {total}, expected more than the {warmup} of warmup_steps, which it includes."
        )
    alpha = 0.0 if isinstance(peak, float) and peak == 0.0 else end / peak
    return _after_warmup(init_value, peak, warmup, cosine_decay_schedule(peak, total - warmup, alpha, exponent))


def warmup_exponential_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: float,
    transition_steps: float,
    decay_rate: Scalar,
    transition_begin: float = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """Return a straight rise followed by an exponential decay.

    Parameters
    ----------
    init_value
        The first value.
    peak_value
        The value after the rise.
    warmup_steps
        Number of steps of the rise.
    transition_steps, decay_rate, transition_begin, staircase, end_value
        The arguments of `exponential_decay`, which counts its steps from the end of the rise.

    Raises
    ------
    HyperparameterError
        If `decay_rate` is below 0.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.warmup_exponential_decay_schedule(0.0, 1.0, 10, transition_steps=20, decay_rate=0.25)
    >>> schedule(5), schedule(10), schedule(20), schedule(30)
    (0.5, 1.0, 0.5, 0.25)
    """
    decay = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return _after_warmup(init_value, peak_value, warmup_steps, decay)


def warmup_inverse_sqrt_schedule(
    init_value: Scalar, peak_value: Scalar, warmup_steps: float, transition_steps: float | None = None
) -> Schedule:
    r"""Return a straight rise followed by a decay with the square root of the time.

    Parameters
    ----------
    init_value
        The first value.
    peak_value
        The value after the rise.
    warmup_steps
        Number of steps of the rise.
    transition_steps
        :math:`T` of `inverse_sqrt_schedule`, whose steps begin at the end of the rise; None means `warmup_steps`.

    Raises
    ------
    HyperparameterError
        If `transition_steps`, or `warmup_steps` in its place, is not above 0.

    Notes
    -----
    With the default, the value at a step :math:`n` after the rise of :math:`w` steps is the peak times
    :math:`\sqrt{w / n}`, as for the transformer, whose peak is :math:`1 / \sqrt{d w}` for a model of width :math:`d`.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv:1706.03762.

    Examples
    --------
    >>> import uniopt
    >>> schedule = uniopt.warmup_inverse_sqrt_schedule(0.0, 1.0, warmup_steps=10)
    >>> schedule(5), schedule(10), schedule(40)
    (0.5, 1.0, 0.5)
    """
    if transition_steps is None:
        transition_steps = hyperparameters.positive_steps("warmup_steps", warmup_steps)
    return _after_warmup(init_value, peak_value, warmup_steps, inverse_sqrt_schedule(peak_value, transition_steps))


def _after_warmup(init_value: Scalar, peak_value: Scalar, warmup_steps: float, after: Schedule) -> Schedule:
    steps = hyperparameters.steps("warmup_steps", warmup_steps, at_least=0)
    return join_schedules([linear_schedule(init_value, peak_value, steps), after], [steps])
