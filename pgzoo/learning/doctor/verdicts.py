"""What can be done with a run, as follows from what its folder lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pgzoo.learning.doctor.findings import Finding
from pgzoo.records.run_folder import SUMMARY

Action = Literal["evaluate", "watch", "resume", "plot", "compare", "tensorboard"]

POLICY = ("configuration", "environment", "checkpoint")
RESULTS = ("configuration", "results", "metrics", "times")
BEGIN = ("configuration", "environment", "estimator", "trainer", "summary")
NEEDS: dict[Action, tuple[str, ...]] = {
    "evaluate": POLICY,
    "watch": (*POLICY, "survivor", "summary", "picture", "first snapshot"),
    "resume": (*BEGIN, "own files", "rest", "room", "state", "metrics so far", "times so far"),
    "plot": RESULTS,
    "compare": (*RESULTS, "equal steps", "version", "source"),
    "tensorboard": ("events",),
}
"""What has to be in order for each thing that can be done with a run."""


@dataclass(frozen=True)
class Verdict:
    """Whether something can be done with a run.

    Attributes:
        action: what.
        possible: None if that cannot be told without running something.
        reason: why not, or what to know of it.
    """

    action: Action
    possible: bool | None
    reason: str = ""


def verdict(action: Action, findings: Sequence[Finding]) -> Verdict:
    """Whether something can be done with a run of which all this was found."""
    needs = NEEDS[action]
    complete = any(f.part == SUMMARY and f.severity == "fine" for f in findings)
    if action == "resume" and complete:  # then there is nothing left to train
        needs = BEGIN
    for finding in findings:
        if set(needs) & set(finding.lacks):
            return Verdict(action, False, f"{finding.part}: {finding.text}")
    for finding in findings:
        if set(needs) & set(finding.unknown):
            return Verdict(action, None, f"{finding.part}: {finding.text}")
    nothing_left = action == "resume" and complete
    return Verdict(action, True, "it is complete; nothing is left to train" * nothing_left)
