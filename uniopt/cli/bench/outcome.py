"""What is known of a row after it has been measured, or why it has not been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from uniopt.cli.bench.timing import Ratio


class Verdict(StrEnum):
    """What a row says about its target."""

    MET = "MET"
    MISSED = "MISSED"
    NOT_JUDGED = "NOT JUDGED"
    DIFFERS = "DIFFERS"
    FAILED = "FAILED"
    NOT_RUN = "NOT RUN"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a row.

    Attributes
    ----------
    verdict
        Whether the target is met.
    ratio
        The measured ratio; None where nothing was measured.
    reason
        Why it is not judged, has failed or has not run.
    measured
        The numbers behind the ratio, for the record.
    warnings
        What was warned of meanwhile, such as a step that could not be compiled.
    """

    verdict: Verdict
    ratio: Ratio | None = None
    reason: str = ""
    measured: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @classmethod
    def of(cls, ratio: Ratio, target: float | None, measured: Mapping[str, Any], doubt: str) -> Outcome:
        """Return the outcome of a measurement, which is not judged without a target or with a reason to `doubt` it."""
        if doubt or target is None:
            return cls(Verdict.NOT_JUDGED, ratio, doubt, measured)
        verdict = Verdict.MET if ratio.median <= target else Verdict.MISSED
        return cls(verdict, ratio, doubt, measured)

    @classmethod
    def not_run(cls, reason: str) -> Outcome:
        """Return the outcome of a row that cannot run here."""
        return cls(Verdict.NOT_RUN, reason=reason)
