"""The command itself: what it prints about itself, and that it is there at once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import uniopt
from uniopt.cli import main


def printed_help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed_help(capsys)
    for command in ("demo", "doctor", "bench", "compare", "inspect", "convert", "plot", "conformance"):
        assert f"    {command}" in out


def test_help_of_demo_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed_help(capsys, "demo")
    for option in ("--optimizer", "--set", "--backend", "--device", "--dtype", "--epochs", "--seed", "--out"):
        explanation = out.split(f"  {option} ")[1].split("\n  --")[0]
        assert len(explanation.split()) > 3


def test_help_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in (
        [],
        ["demo"],
        ["doctor"],
        ["bench"],
        ["compare"],
        ["inspect"],
        ["convert"],
        ["plot"],
        ["plot", "schedule"],
    ):
        assert max(map(len, printed_help(capsys, *words).splitlines())) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"uniopt {uniopt.__version__}\n"


def test_without_a_command_prints_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train"])
    assert stopped.value.code == 2
    assert "demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["demo"], ["doctor"], ["bench"], ["compare"], ["inspect"], ["convert"], ["plot", "schedule"]]
)
def test_help_loads_no_library_and_none_of_the_extras(words: list[str]) -> None:
    heavy = ["torch", "jax", "mlx", "dask", "array_api_strict", "cupy", "rich", "matplotlib", "sklearn", "scipy"]
    program = (
        "import sys\n"
        "from uniopt.cli import main\n"
        "try:\n"
        f"    main({[*words, '--help']!r})\n"
        "except SystemExit:\n"
        f"    print('LOADED', [name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--version", "conformance --list --backend numpy --optimizer lion --quick"])
def test_a_reader_that_has_gone_ends_the_command_without_a_word(command: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "import sys; from uniopt.cli import main; sys.exit(main())"
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-c", program, *command.split()],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        ("demo", "sklearn", "demo"),
        ("doctor", "rich", "cli"),
        ("inspect file", "rich", "cli"),
        ("convert in out --from torch", "torch", "torch"),
        ("plot schedule constant_schedule(1)", "rich", "plot"),
        ("plot schedule constant_schedule(1) --out x.png", "matplotlib", "plot"),
    ],
)
def test_a_missing_extra_is_named(
    command: str, module: str, extra: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from uniopt.cli import errors

    present = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == module else present(name))
    assert main(command.split()) == 1
    err = capsys.readouterr().err
    assert module in err
    assert f"pip install 'uniopt[{extra}]'" in err
