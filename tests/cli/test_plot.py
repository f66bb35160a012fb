"""Drawings: what is drawn where, and that an expression runs nothing but schedules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

import uniopt
from uniopt.cli import main
from uniopt.cli.errors import CommandError
from uniopt.cli.expressions import evaluate
from uniopt.cli.plot.curves import curves

PAGE = Path(__file__).parents[2] / "docs" / "schedules.md"
LINE = "linear_schedule(0.5, 0.0, 100)"


def plot(*words: str) -> int:
    return main(["plot", "schedule", *words])


def drawn(text: str) -> list[str]:
    """Return the rows between the axes."""
    return [line.split("│")[1] for line in text.splitlines() if "│" in line]


def test_draws_in_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert plot(LINE, "--steps", "100") == 0
    out = capsys.readouterr().out
    assert LINE in out.splitlines()[0]
    assert max(map(len, out.splitlines())) <= 60
    rows = drawn(out)
    # A straight fall: each column has its dots a little lower than the one before.
    lines = np.asarray([[cell not in " ⠀" for cell in row.ljust(60)] for row in rows])
    heights = [float(np.mean(np.flatnonzero(column))) for column in lines.T if column.any()]
    assert len(heights) == 47
    assert heights[0] == 0
    assert heights[-1] == len(rows) - 1
    assert np.all(np.diff(heights) >= 0)
    labels = [line.split("│")[0].strip() for line in out.splitlines() if "│" in line]
    assert [label for label in labels if label] == ["0.5", "0.25", "0"]
    assert out.splitlines()[-1].split() == ["0", "50", "100"]


def test_several_schedules_have_letters_where_there_are_no_colors(capsys: pytest.CaptureFixture[str]) -> None:
    assert plot(LINE, "constant_schedule(0.25)") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:2] == [f"a  {LINE}", "b  constant_schedule(0.25)"]
    rows = drawn(out)
    assert rows[0][0] == "a"
    assert set(rows[len(rows) // 2]) <= {"a", "b", " "}
    assert rows[len(rows) // 2].count("b") > 50


def test_a_jump_is_drawn_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert plot("piecewise_constant_schedule(1.0, {50: 0.0})", "--steps", "100") == 0
    lines = drawn(capsys.readouterr().out)
    assert all(re.search(r"[^ ]", line) for line in lines)


def test_a_schedule_that_never_changes_is_a_line_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    assert plot("constant_schedule(0.5)") == 0
    rows = drawn(capsys.readouterr().out)
    assert [bool(row.strip()) for row in rows] == [False] * 8 + [True] + [False] * 8


def test_the_page_shows_what_is_drawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command, shown = re.findall(
        r'\$ uniopt plot schedule "(.+)"\n```\n\n```text\n(.*?)```', PAGE.read_text(), re.DOTALL
    )[0]
    assert plot(command) == 0
    printed = capsys.readouterr().out
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()


def test_writes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rate.png"
    assert plot(LINE, "constant_schedule(0.25)", "--out", str(path)) == 0
    assert capsys.readouterr().out == f"Wrote {path}\n"
    pixels = np.round(255 * matplotlib.image.imread(path)[:, :, :3]).astype(int)
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert np.sum(np.all(pixels == color, axis=2)) > 500


def test_values_are_the_schedules() -> None:
    (curve,) = curves(["cosine_decay_schedule(0.5, 20)"], None)
    schedule = uniopt.cosine_decay_schedule(0.5, 20)
    assert curve.steps.tolist() == list(range(23))
    np.testing.assert_allclose(curve.values, [schedule(n) for n in range(23)], rtol=1e-14, atol=1e-16)
    (long,) = curves(["cosine_decay_schedule(0.5, 20)"], 1_000_000)
    assert len(long.steps) == 10_001
    assert long.steps[-1] == 1_000_000


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("constant_schedule(1.0)", 10),
        ("linear_schedule(0.0, 1.0, 100, 100)", 221),
        ("warmup_cosine_decay_schedule(0, 1e-3, 100, 1000)", 1100),
        ("join_schedules([constant_schedule(1), linear_schedule(1, 0, 400)], [600])", 1100),
        ("piecewise_constant_schedule(1.0, {100: 0.5, 1000: 0.5})", 1100),
        ("exponential_decay(1.0, 100, 0.5)", 400),
        ("exponential_decay(1.0, 1, 0.9)", 100),
        ("cyclic_schedule(0.0, 1.0, 100)", 800),
        ("warmup_stable_decay_schedule(0.0, 1.0, 100, 700, 200)", 1100),
    ],
)
def test_as_many_steps_as_show_what_happens(text: str, last: int) -> None:
    assert curves([text], None)[0].steps[-1] == pytest.approx(last, abs=1)


def test_expressions() -> None:
    assert evaluate(" [1, -2.5, {'a': (None, True)}] ") == [1, -2.5, {"a": (None, True)}]
    assert evaluate(f"join_schedules([{LINE}, exponential_decay(1, 5, decay_rate=0.5)], boundaries=[20])") == (
        uniopt.join_schedules(
            [uniopt.linear_schedule(0.5, 0.0, 100), uniopt.exponential_decay(1, 5, decay_rate=0.5)], [20]
        )
    )
    for module in ("uniopt", "optax", "uniopt.schedules", "optax.schedules"):  # as people write them
        assert evaluate(f"{module}.{LINE}") == evaluate(LINE)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "constant_schedule(__import__('os'))",
        "constant_schedule(open('x'))",
        "constant_schedule.__globals__",
        "uniopt.compile(constant_schedule(1))",
        "uniopt.schedules.time.power(1, 2)",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "constant_schedule(*[1])",
        "{**{1: 2}}",
        "x",
        "2 ** 99",
        "constant_schedule(1",
        "",
        "(" * 5000 + ")" * 5000,
        "constant_schedule(" + "-" * 5000 + "1)",
        "a\x00b",
    ],
)
def test_nothing_else_is_run(text: str) -> None:
    with pytest.raises(CommandError):
        evaluate(text)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["cosine_schedule(1)"], 2, "'cosine_schedule(1)' is no Python literal (text needs quotes) and no schedule"),
        (["cosine_schedule(1)"], 2, "Schedules: constant_schedule, cosine_annealing_schedule,"),
        (["linear_schedule(1)"], 2, "linear_schedule() missing 2 required positional arguments"),
        (["linear_schedule('a', 0, 1)"], 2, "init_value is 'a', expected a number"),
        (["linear_schedule(1, 0, steps=1)"], 2, "unexpected keyword argument 'steps'"),
        (["0.5"], 2, "'0.5' is no schedule. One is, for example, linear_schedule(0.1, 0.0, 100)"),
        (["constant_schedule(1e999)"], 1, "is inf at step 0: only finite values can be drawn"),
        ([LINE, "--steps=0"], 2, "--steps is 0, expected a number from 1 to 1000000000"),
        ([LINE, "--out=rate.jpg"], 2, "--out is 'rate.jpg', expected the name of a file that ends with .png"),
        ([LINE, "--out=/dev/null/rate.png"], 2, "--out: /dev/null/rate.png cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot(*words) == status
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("uniopt plot: error: ")
    assert message in err


def test_without_a_kind_prints_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot"]) == 2
    assert "KIND" in capsys.readouterr().out


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        plot("--help")
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for option in ("SCHEDULE", "--steps", "--out"):
        assert len(out.split(f"  {option} ")[1].split("\n  -")[0].split()) > 3


def test_colors_tell_curves_apart_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert plot(LINE, "constant_schedule(0.25)") == 0
    out = capsys.readouterr().out
    assert "\x1b[36m━━" in out
    assert "\x1b[33m━━" in out
    assert re.search("\x1b\\[36m[\u2801-\u28ff]", out)
    assert re.search("\x1b\\[33m[\u2801-\u28ff]", out)
