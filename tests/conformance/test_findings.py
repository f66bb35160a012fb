"""Every finding can be shown again; where a library has changed, its entry has to be changed, too."""

from __future__ import annotations

import dataclasses

import pytest
from uniopt.conformance.findings import Finding, findings

from uniopt.cli import main


@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.id)
def test_it_is_found_again(finding: Finding) -> None:
    if finding.version() is None:
        pytest.skip(f"{finding.library} is not installed")
    assert finding.reproduce() == finding.found
    assert finding.found != finding.expected


def test_the_command_shows_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "findings", "optax-rprop-late"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith("optax-rprop-late: optax.rprop takes each step one step late (optax ")
    assert "  found    -0.000000" in said or "  found    0.000000" in said
    assert main(["conformance", "findings", "nothing"]) == 2


def test_what_is_no_longer_so_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    changed = [dataclasses.replace(findings()[0], found="-0.1", script="print(-0.2)")]
    monkeypatch.setattr("uniopt.conformance.findings.findings", lambda: changed)
    assert main(["conformance", "findings"]) == 1
    assert "has the library changed?" in capsys.readouterr().out
    broken = [dataclasses.replace(changed[0], script="raise ValueError('x')")]
    monkeypatch.setattr("uniopt.conformance.findings.findings", lambda: broken)
    with pytest.raises(RuntimeError, match="ValueError: x"):
        main(["conformance", "findings"])
