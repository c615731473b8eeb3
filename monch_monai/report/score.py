"""A score of one run or of several."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """A score of one run with the ends of its interval, or the mean of several runs with their standard deviation."""

    value: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    runs: int = 1

    def __str__(self) -> str:
        """The text in a table: `0.6123 [0.5790, 0.6420]`, or `0.6123 ± 0.0040 (3)`."""
        if self.runs > 1:
            return f"{self.value:.4f} ± {self.sd:.4f} ({self.runs})"
        return f"{self.value:.4f}" + ("" if self.low is None else f" [{self.low:.4f}, {self.high:.4f}]")


def score_of(scores: dict[str, Any], key: str) -> Score | None:
    """Score of one run with its interval; None where the run has no such score."""
    return None if scores[key] is None else Score(scores[key], scores.get(f"{key}_low"), scores.get(f"{key}_high"))


def mean_score(scores: Sequence[dict[str, Any]], key: str) -> Score | None:
    """One run's score with its interval, or the mean of several with the sample's standard deviation; None without."""
    if len(scores) == 1:
        return score_of(scores[0], key)
    known = [row[key] for row in scores if row[key] is not None]
    if len(known) > 1:
        return Score(statistics.mean(known), sd=statistics.stdev(known), runs=len(known))
    return Score(known[0]) if known else None
