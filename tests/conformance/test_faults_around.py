"""The suite catches faults that are planted in transformations, wrappers and schedules, by the cases of their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from uniopt.conformance import Record, Selection, report
from uniopt.conformance.suite import run

import uniopt
from tests.mutation.corpus import faults_of
from tests.mutation.planting import planted


def on_numpy(name: str, dtype: str = "float64") -> Record:
    return run(
        Selection(
            backends=["numpy"], optimizers=[name], dtypes=[dtype], modes=["eager"], against=["reference"], quick=True
        )
    )


def failures(record: Record) -> list[str]:
    return [cell["name"] for cell in record.cells if cell["verdict"] == "FAIL"]


@pytest.mark.parametrize(
    ("name", "module", "line"),
    [
        ("clip", "transforms/clip.py", "xp.maximum(xp.minimum(g, max_delta), max_delta)"),
        ("clip_by_block_rms", "transforms/clip.py", "(root_mean_square(xp, g) * threshold, 1.0)"),
        ("clip_by_global_norm", "transforms/global_norm.py", "xp.where(within, max_norm / xp.where("),
        ("normalize", "transforms/global_norm.py", "return 2 / nonzero(xp, norm)"),
        ("normalize_by_update_norm", "transforms/global_norm.py", "nonzero(xp, norm - eps, eps)"),
        ("adaptive_grad_clip", "transforms/adaptive_clip.py", "limit = clipping * xp.maximum(g_norm, eps)"),
        ("centralize", "transforms/centralize.py", "tuple(range(2, g.ndim))"),
        ("zero_nans", "transforms/constraints.py", "xp.where(nan, xp.ones_like(g), g)"),
        ("keep_params_nonnegative", "transforms/constraints.py", "xp.where(p - g < 0, -p, g)"),
        ("scale_by_trust_ratio", "transforms/trust_ratio.py", "trust_ratio(xp, g, g, min_norm"),
        ("scale_by_param_block_rms", "transforms/trust_ratio.py", "root_mean_square(xp, g, min_scale)"),
        ("add_decayed_weights", "transforms/decay.py", "return g - weight_decay * p"),
        ("ema", "transforms/ema.py", "if not (debias) else mean"),
        ("trace", "transforms/trace.py", "if not (nesterov) else m)"),
        ("apply_every", "transforms/apply_every.py", "return t > in_dtype_of(xp, t, k)"),
        ("MultiSteps", "transforms/accumulate.py", "acc = held - (g - held) / t.once(_number)"),
        ("apply_if_finite", "transforms/apply_if_finite.py", "finite | (in_a_row >= most)"),
        ("params_ema", "transforms/params_average.py", "return (1 + decay) / (xp.zeros_like(n)"),
        ("params_mean", "transforms/params_average.py", "n = whole(xp, t + start, every)"),
        ("schedule_free_sgd", "transforms/schedule_free.py", "return (1 + b1) * move"),
        ("lookahead", "transforms/lookahead.py", "behind = params[i] - u - slow[i]"),
        ("linear_schedule", "schedules/polynomial.py", "return 2.0 - xp.minimum(since("),
        ("cosine_decay_schedule", "schedules/cosine.py", "return 0.5 * (1.0 - xp.cos("),
        ("cosine_restarts_schedule", "schedules/cycles.py", "return cycle, n * length - cycle"),
        ("linear_onecycle_schedule", "schedules/onecycle.py", "scales.get(boundary, 2.0) * scale"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_rules_are_found(name: str, module: str, line: str) -> None:
    assert on_numpy(name).exit_code() == 0
    chosen = [fault for fault in faults_of(module) if line in fault.line]
    assert chosen
    for fault in chosen:
        with planted(fault):
            record = on_numpy(name)
        assert failures(record), fault.line
        assert "against reference: first in step" in report.text(record)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "fault"), [("master_weights", lambda inner: inner), ("kahan_summation", uniopt.identity)]
)
def test_what_rounding_takes_is_missed(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., Any], dtype: str
) -> None:
    assert on_numpy(name, dtype).exit_code() == 0
    monkeypatch.setattr(uniopt, name, fault)
    assert failures(on_numpy(name, dtype))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("lookahead", lambda fast, sync_period, **own: uniopt.lookahead(fast, sync_period + 1, **own)),
        ("sam", lambda optimizer, climb, **own: uniopt.sam(optimizer, optimizer, **own)),
        ("mechanize", lambda inner, **own: uniopt.mechanize(inner, **{**own, "num_betas": 1})),
        ("chain", lambda *parts: uniopt.named_chain(*zip("ab", reversed(parts), strict=True))),
        ("partition", lambda transforms, labels: transforms["slow"]),
        ("masked", lambda inner, mask: inner),
        ("freeze", lambda mask: uniopt.identity()),
        ("dynamic_loss_scaling", lambda inner, **own: inner),
        ("reduce_on_plateau", lambda **own: uniopt.identity()),
        (
            "inject_hyperparams",
            lambda factory: (
                lambda **own: factory(**{key: 0.0625 if key == "learning_rate" else x for key, x in own.items()})
            ),
        ),
    ],
)
def test_wrong_wrappers_are_found(monkeypatch: pytest.MonkeyPatch, name: str, fault: Callable[..., Any]) -> None:
    right = getattr(uniopt, name)
    assert on_numpy(name).exit_code() == 0
    monkeypatch.setattr(uniopt, name, lambda *given, **own: _with(right, name, fault, *given, **own))
    record = on_numpy(name)
    assert failures(record), report.text(record)


def _with(right: Any, name: str, fault: Callable[..., Any], *given: Any, **own: Any) -> Any:
    """Return what a faulty function makes, which may call the right one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uniopt, name, right)
        return fault(*given, **own)
