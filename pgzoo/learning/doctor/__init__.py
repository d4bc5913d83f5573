"""``pgzoo.doctor``: what of a run's folder is damaged, and what can still be done with it.

Each part is examined by the very function that reads it when it is used, and the next part is,
too, whatever the one before has. A finding names what it lacks for; what can be done follows from
``verdicts.NEEDS`` and nothing else. Nothing is written, nothing of the folder is run, no link is
followed.

- ``origin``: what the run was begun with, and whether that is here
- ``training``: what training wrote, and whether it agrees
- ``place``: the folder itself
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgzoo.errors import UsageError
from pgzoo.learning.doctor import origin, place, training
from pgzoo.learning.doctor.findings import Chart, Finding
from pgzoo.learning.doctor.verdicts import NEEDS, Verdict, verdict
from pgzoo.learning.stored import stored_config
from pgzoo.options import checked, checked_path
from pgzoo.records.config import RunConfig
from pgzoo.records.printable import printable
from pgzoo.records.run_folder import CONFIG, FILES, SNAPSHOTS, SUMMARY, RunFolder

OTHER_FOLDERS = {
    "question.json": "a comparison; its runs are in its folder `runs`: give one of those",
    "compare.json": "the result of a comparison: give one of the runs that it was made of",
    "lab.json": "a result of the laboratory: give the run that it was made of",
}


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with a run's folder.

    Attributes:
        path: of the folder.
        findings: part by part.
        verdicts: what can still be done.
    """

    path: Path
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is damaged."""
        return all(finding.severity != "damaged" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For a script."""
        return dataclasses.asdict(self) | {"path": str(self.path), "healthy": self.healthy}

    def __str__(self) -> str:
        signs = {"fine": "✓", "note": "•", "damaged": "✗"}
        words = {True: "yes", False: "no", None: "not known"}
        lines = [f"{signs[f.severity]} {f.part}: {f.text}" for f in self.findings]
        lines += [
            f"{v.action}: {words[v.possible]}" + (f", {v.reason}" if v.reason else "")
            for v in self.verdicts
        ]
        return printable("\n".join(lines))

    __repr__ = __str__


def doctor(path: str | Path, *, evaluate: bool = False) -> Diagnosis:
    """Examine a run's folder from end to end.

    Args:
        path: of the folder.
        evaluate: whether to evaluate the policies again and compare with the summary: an evaluation
            repeats exactly on the same kind of machine.

    Raises:
        UsageError: if it is no folder of a run.
    """
    path, evaluate = checked_path("path", path), checked("evaluate", evaluate, bool)
    _check_is_run(path)
    findings = tuple(_findings(Chart(RunFolder(path)), evaluate))
    return Diagnosis(path, findings, tuple(verdict(action, findings) for action in NEEDS))


def _check_is_run(path: Path) -> None:
    try:
        is_folder = path.is_dir()
        inside = sorted(entry.name for entry in os.scandir(path)) if is_folder else []
    except (OSError, ValueError) as error:
        raise UsageError(f"Cannot read {path}: {error}. Give the folder of a run.") from error
    if not is_folder:
        raise UsageError(f"Expected the folder of a run, but {path} is no folder. Give one.")
    if CONFIG in inside:
        return
    for name, what in OTHER_FOLDERS.items():
        if name in inside:
            raise UsageError(f"Expected the folder of a run, but {path} is {what}.")
    runs = [path / name for name in inside if os.path.lexists(path / name / CONFIG)]
    if runs:
        raise UsageError(
            f"Expected the folder of a run, but {path} holds {len(runs)} of them. Give one, such "
            f"as {runs[0]}."
        )
    if set(FILES[1:]) & set(inside) or SNAPSHOTS in inside:
        raise UsageError(
            f"Expected the folder of a run, but {path} has lost its {CONFIG}, without which nobody "
            "can tell what the rest of it is. Restore that file from a copy."
        )
    RunFolder.open(path)  # says so


def _findings(chart: Chart, evaluate: bool) -> list[Finding]:
    config = chart.attempt(CONFIG, ("configuration",), lambda: stored_config(chart.folder))
    if config is not None:
        _examine_run(chart, config, evaluate)
    place.examine_events(chart)
    place.examine_entries(chart)
    place.examine_place(chart)
    return chart.findings


def _examine_run(chart: Chart, config: RunConfig, evaluate: bool) -> None:
    origin.examine_config(chart, config)
    network = origin.examine_environment(chart, config)
    trainer = None if network is None else origin.make_trainer(chart, config)
    summary = training.examine_summary(chart)
    state = training.examine_checkpoint(chart, config, network, trainer)
    training.examine_snapshots(chart, config, network, state)
    training.examine_metrics(chart, state, summary)
    if summary is not None or not os.path.lexists(chart.folder.path / SUMMARY):
        training.examine_times(chart, state)
    if summary is not None and state is not None:
        training.compare_summary(chart, summary, state)
    if summary is not None and evaluate:
        training.evaluate_again(chart, summary)
