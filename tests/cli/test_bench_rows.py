"""The benchmark's parts: agreement before time, verdicts that follow from ratios, the table that was promised."""

from __future__ import annotations

import sys
import warnings
from itertools import groupby

import numpy as np
import pytest

import uniopt
import uniopt.numerics
from uniopt.cli.bench import memory, optimizers, runner, threads, timing
from uniopt.cli.bench.agreement import ResultsDifferError, compare
from uniopt.cli.bench.compositions import COMPOSITIONS, NOT_IN_OPTAX
from uniopt.cli.bench.fresh import FreshProcessError, call
from uniopt.cli.bench.outcome import Outcome, Verdict
from uniopt.cli.bench.peers.torch import RULES
from uniopt.cli.bench.record import Record
from uniopt.cli.bench.report import line, markdown
from uniopt.cli.bench.settings import Settings
from uniopt.cli.bench.sizes import SIZES
from uniopt.cli.bench.targets import AGAINST, TORCH_FUSED, TORCH_OTHERS, Row, table
from uniopt.cli.bench.timing import Ratio
from uniopt.cli.bench.traffic import fewest_bytes

QUICK = Settings(threads=1, quick=True)


def outcome(row: Row) -> Outcome:
    ((_, found),) = runner.run([row], QUICK)
    return found


def row(backend: str, optimizer: str, against: str) -> Row:
    return Row(backend, optimizer, SIZES["10"], against, None)


@pytest.mark.parametrize("against", ["torch-fused", "by-hand"])
def test_sides_that_differ_are_not_timed(against: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniopt.numerics, "bias_correction", lambda xp, t, decay, ahead=0: 1.0)
    monkeypatch.setattr(timing, "alternate", lambda *given: pytest.fail("timed"))
    found = outcome(row("numpy", "adamw", against))
    assert found.verdict is Verdict.DIFFERS
    assert found.ratio is None
    assert "10 of 10 elements of leaf0 differ by more than" in found.reason


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_compositions_agree_with_optaxs(name: str) -> None:
    found = outcome(row("jax", name, "optax"))
    if name in NOT_IN_OPTAX:
        assert found == Outcome.not_run(f"optax has no {name}")
    else:
        assert found.verdict is Verdict.NOT_JUDGED
        assert found.measured["agreement"]["strays"] == 0


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", optimizers.OF_TORCH)
def test_torchs_dialect_agrees_with_torch(name: str, backend: str) -> None:
    found = outcome(row(backend, name, "torch-eager"))
    assert found.verdict is Verdict.NOT_JUDGED, found.reason
    assert found.measured["agreement"]["strays"] == 0


def test_a_small_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "adamw", (RULES["adamw"][0], {"weight_decay": 0.011}))  # instead of 0.01
    assert outcome(row("torch", "adamw", "torch-fused")).verdict is Verdict.DIFFERS


def test_a_side_that_fails_is_reported_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(optimizers._HYPERPARAMETERS, "sgd", {"learning_rate": -1.0})
    found = outcome(row("torch", "sgd", "torch-fused"))
    assert found.verdict is Verdict.FAILED
    assert found.reason.startswith("HyperparameterError: ")
    assert "Traceback" in found.measured["traceback"]


def test_a_library_that_is_not_here_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "unavailable", lambda name: f"{name} is not installed")
    assert outcome(row("torch", "adamw", "torch-fused")) == Outcome.not_run("torch is not installed")


def test_a_warning_is_kept_beside_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(row: Row, settings: Settings) -> Outcome:
        warnings.warn("A step runs eagerly.", RuntimeWarning, stacklevel=1)
        return MISSED

    monkeypatch.setattr(runner.pair, "measure", measure)
    record = a_record(outcome(row("numpy", "adamw", "torch-fused")))
    assert record.rows[0]["warnings"] == ["RuntimeWarning: A step runs eagerly."]
    assert line(record.rows[0]).endswith("MISSED\n    RuntimeWarning: A step runs eagerly.")
    assert "| MISSED | RuntimeWarning: A step runs eagerly. |" in markdown(record)


def leaves(**values: list[float]) -> dict[str, np.ndarray]:
    return {name: np.asarray(x, dtype=np.float32) for name, x in values.items()}


def test_rounding_agrees() -> None:
    expected = leaves(a=[1.0, 2.0])
    found = {"a": np.nextafter(expected["a"], np.float32(3.0))}
    assert compare(found, expected, leaves(a=[0.0, 0.0])).strays == 0


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (leaves(a=[1.0, 2.01]), "1 of 2 elements of a differ by more than"),
        (leaves(a=[1.0, float("nan")]), "such as nan here and"),
        (leaves(a=[1.0]), "a is float32 (1,) here and float32 (2,) there"),
        (leaves(b=[1.0, 2.0]), "['b'] here and ['a'] there"),
    ],
)
def test_a_difference_is_refused(found: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ResultsDifferError) as refused:
        compare(found, leaves(a=[1.0, 2.0]), leaves(a=[0.0, 0.0]))
    assert words in str(refused.value)


def test_steps_that_lead_nowhere_show_nothing() -> None:
    with pytest.raises(ResultsDifferError, match=r"moved by 0\.0"):
        compare(leaves(a=[1.0]), leaves(a=[1.0]), leaves(a=[1.0]))


def test_one_sign_in_a_million_may_turn() -> None:
    start, expected = np.zeros(2_000_000, dtype=np.float32), np.ones(2_000_000, dtype=np.float32)
    found = expected.copy()
    found[5] = -1
    assert compare({"a": found}, {"a": expected}, {"a": start}).strays == 1
    found[7:9] = -1
    with pytest.raises(ResultsDifferError, match="3 of 2000000"):
        compare({"a": found}, {"a": expected}, {"a": start})


def test_the_sides_take_turns() -> None:
    order: list[str] = []
    first, second = timing.alternate([lambda: order.append("A"), lambda: order.append("B")], rounds=4)
    runs = [(side, len(list(calls))) for side, calls in groupby(order)]
    assert "".join(side for side, _ in runs) == "AB" * 5  # the first two find out how often to repeat
    assert {calls for side, calls in runs[2:] if side == "A"} == {first.steps}
    assert {calls for side, calls in runs[2:] if side == "B"} == {second.steps}
    assert len(first.seconds) == len(second.seconds) == 4


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    assert Ratio.of([1.0, 4.0, 30.0], [1.0, 2.0, 10.0]) == Ratio(2.0, 1.5, 2.5)
    assert Ratio.of([6.0], [2.0]) == Ratio(3.0, 3.0, 3.0)


def test_processor_time_is_kept_beside_the_time() -> None:
    first, second = timing.Times([1.0, 2.0], [2.0, 4.0], 1), timing.Times([1.0, 1.0], [1.0, 1.0], 1)
    assert first.cores == 2.0
    assert timing.compared(first, second)["processor_ratio"] == {"median": 3.0, "lower": 2.5, "upper": 3.5}
    assert first.scaled(3.0) == timing.Times([3.0, 6.0], [6.0, 12.0], 1)


@pytest.mark.parametrize(
    ("median", "doubt", "verdict"),
    [
        (1.05, "", Verdict.MET),
        (1.06, "", Verdict.MISSED),
        (1.0, "too few rounds", Verdict.NOT_JUDGED),
        (9.0, "too few rounds", Verdict.NOT_JUDGED),
    ],
)
def test_verdicts(median: float, doubt: str, verdict: Verdict) -> None:
    assert Outcome.of(Ratio(median, median, median), 1.05, {}, doubt).verdict is verdict


def test_more_threads_than_allowed_are_not_judged() -> None:
    assert threads.doubt(1, [1.0, 0.6]) == threads.doubt(1, [1.5, 1.4]) == ""
    assert "1.9 and 1.0 cores busy" in threads.doubt(1, [1.9, 1.0])
    assert Settings(threads=2).doubt(1.9, 1.9) == ""
    assert Settings(threads=1).doubt(1.9, 1.0)


def a_record(*outcomes: Outcome, missing: dict[str, str] | None = None) -> Record:
    record = Record.start([], Settings(), {}, missing or {})
    for found in outcomes:
        record.add(Row("numpy", "adamw", SIZES["2e7"], "torch-fused", 1.05), found)
    return record


MET = Outcome(Verdict.MET, Ratio(1.0, 0.9, 1.1))
MISSED = Outcome(Verdict.MISSED, Ratio(1.234, 1.2, 1.3))


def test_a_missed_target_is_shown_with_its_ratio() -> None:
    record = a_record(MET, MISSED)
    assert line(record.rows[1]).split()[-4:] == ["1.23", "1.2-1.3", "1.05", "MISSED"]
    assert "1 MET, 1 MISSED" in markdown(record)
    assert "| 1.23 | 1.2-1.3 |  | 1.05 | MISSED |" in markdown(record)


@pytest.mark.parametrize(
    ("outcomes", "missing", "code"),
    [
        ([MET, Outcome.not_run("no")], {}, 0),
        ([Outcome(Verdict.NOT_JUDGED)], {}, 0),
        ([MET, MISSED], {}, 1),
        ([MET, Outcome(Verdict.DIFFERS)], {}, 1),
        ([MET, Outcome(Verdict.FAILED)], {}, 1),
        ([Outcome.not_run("no")], {}, 2),
        ([], {}, 2),
        ([MET], {"jax": "not installed"}, 3),
    ],
)
def test_exit_codes(outcomes: list[Outcome], missing: dict[str, str], code: int) -> None:
    assert a_record(*outcomes, missing=missing).exit_code() == code


def test_the_table_has_every_target() -> None:
    rows = {r.name: r for r in table()}
    assert len(rows) == len(table())
    promised = {
        "numpy/adamw/10/torch-fused": 0.5,
        "numpy/adamw/10x1e3/torch-fused": 0.5,
        "numpy/adamw/200x1e4/torch-fused": 0.8,
        "numpy/adamw/2e7/torch-fused": 1.05,
        "numpy/adamw/gpt2/torch-fused": 1.05,
        "torch/adagrad/gpt2/torch-fused": 1.05,
        "torch/rprop/2e7/torch-eager": 0.35,
        "torch/nadam/200x1e4/torch-compile": 1.25,
        "numpy/torch.AdamW/2e7/torch-fused": 1.05,
        "torch/torch.RMSprop/200x1e4/torch-eager": 0.35,
        "numpy/adan/2e7/eager": 0.2,
        "numpy/lion/2e7/eager": 0.45,
        "numpy/averaged_adamw/2e7/eager": 0.2,
        "numpy/lamb/2e7/bandwidth": 1.5,
        "torch/clipped_adamw/gpt2/bandwidth": 1.5,
        "numpy/finite_adamw/2e7/bandwidth": 1.5,
        "torch/adafactor/gpt2/bandwidth": 1.5,
        "jax/yogi/2e7/optax": 1.05,
        "jax/clipped_adamw/2e7/optax": 1.05,
        "jax/yogi/10x1e3/optax": 1.10,
        "torch/adamw/200x1e4/by-hand": 1.5,
        "jax/adamw/2e7/by-hand": 1.1,
        "numpy/adamw/gpt2/first-call-cold": 0.2,
        "torch/adamw/gpt2/first-call-warm": 0.02,
        "torch/adamw/gpt2/memory": 1.0,
    }
    assert {name: rows[name].target for name in promised} == promised
    assert {r.against for r in table()} == set(AGAINST)


def test_no_optimizer_is_left_out() -> None:
    everything = set(optimizers.names())
    for backend, size, against in (("jax", "gpt2", "optax"), ("numpy", "2e7", "bandwidth"), ("torch", "2e7", "memory")):
        assert {r.optimizer for r in table() if (r.backend, r.size.name, r.against) == (backend, size, against)} == (
            everything
        )
    assert set(RULES) == {*TORCH_FUSED, *TORCH_OTHERS}
    assert everything > optimizers.FACTORED_OR_NORMED | optimizers.WITHOUT_SECOND_MOMENTS


def test_the_model_is_gpt2_small() -> None:
    assert len(SIZES["gpt2"].shapes) == 148
    assert SIZES["gpt2"].elements == 124_439_808


@pytest.mark.parametrize(
    ("optimizer", "leaves_moved"),
    [
        ("sign_sgd", 3),
        ("sgd", 5),
        ("adamw", 7),
        ("lamb", 10),
        ("averaged_adamw", 9),
        ("clipped_adamw", 8),
        ("finite_adamw", 8),
    ],
)
def test_traffic(optimizer: str, leaves_moved: int) -> None:
    size = SIZES["2e7"]
    assert 0 <= fewest_bytes(optimizer, size) - leaves_moved * size.nbytes < 100  # what else there is are counters


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_memory_that_a_step_takes_for_a_while_is_seen() -> None:
    assert memory.climb(lambda: None) < 2**20  # the system counts pages in batches
    assert 0.98 * 2**25 <= memory.climb(lambda: np.ones(2**25, dtype=np.int8).sum()) <= 1.02 * 2**25


def test_what_a_fresh_process_says_is_passed_on() -> None:
    assert call("os.path", "basename", p="a/b") == "b"
    with pytest.raises(FreshProcessError, match="TypeError"):
        call("os.path", "basename", p=1)
    with pytest.warns(UserWarning, match="no state here"):
        call("warnings", "warn", message="no state here")
