"""Whatever reads a run folder, and the figures that it found there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz import folders
from tests.fuzz.child import Outcome

TIMED = ("wall_seconds", "steps_per_second", "digest", "times_digest")
SECONDS = re.compile(r"\d[\d,.]*(?= (?:s|ms|kB|minutes?|seconds?|steps? per second|steps/s)\b)")
LAB = ("--estimator", "reinforce", "--estimates", "2", "--trajectories", "4", "--out", "new")


@dataclass(frozen=True)
class Reader:
    """A way to read a run folder.

    Attributes:
        words: the command line, for the run folder of a name; None: ``python`` is called.
        figures: what it says of the run, from its outcome and the folder in which it ran; entries
            that are None say that there is nothing.
        complete: whether the run must be complete.
        writes: what it may make and change besides ``new``.
        python: called with the run's name.
    """

    words: Callable[[str], list[str]] | None
    figures: Callable[[Outcome, Path, str], dict[str, Any]]
    complete: bool = False
    writes: Callable[[str], tuple[str, ...]] = lambda _: ()
    python: Callable[[str], Any] | None = None


def _stdout(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    text = outcome.stdout.decode(errors="replace")
    return {"stdout": SECONDS.sub("#", re.sub(r"\s+", " ", text))}


def _nothing(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    return {}


def _resumed(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    """What resuming makes; where nothing is left to train, it reads the summary alone."""
    if name in folders.COMPLETE or "/" in name:
        return {"summary": _summary(work / name)}
    found = of_run(work / name)
    return {part: found[part] for part in ("metrics", "checkpoint", "summary")}


def of_run(folder: Path) -> dict[str, Any]:
    """All that is to be the same in equal runs."""
    checkpoint = (folder / "checkpoint.safetensors").read_bytes()
    return {
        "metrics": _sha(folder / "metrics.csv"),
        "checkpoint": hashlib.sha256(checkpoint).hexdigest(),
        "summary": _summary(folder),
        "snapshots": [p.name for p in sorted((folder / "snapshots").glob("*"))],
        "seeds": [p.name for p in sorted(folder.glob("seed-*"))],
    }


def _summary(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    return {k: v for k, v in summary.items() if k not in TIMED}


def _tables(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    """Tables of a comparison or a figure, without what depends on times."""
    return {
        str(path.relative_to(work)): _table(path) for path in sorted((work / "new").glob("*.csv"))
    }


def _table(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k and "second" not in k and "minute" not in k}
            for row in csv.DictReader(file)
        ]


def _lab(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    found = json.loads((work / "new" / "lab.json").read_text())
    return {k: v for k, v in found.items() if "seconds" not in k}


def _film(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    return {"film": _sha(work / "new.gif")} | _stdout(outcome, work, name)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _resume(name: str) -> list[str]:
    agent = folders.AGENTS.get(name, Path(name).name.partition("-")[0])
    return ["run", agent, "--quiet", f"--resume={name}"]


def _like(name: str) -> list[str]:
    """Compare with what is there: of a run that cannot be used, the seeds are trained anew."""
    return ["compare", "reinforce:episodes=4", "reinforce:episodes=4,learning_rate=0.01",
            "--env", "CartPole-v1", "--seeds", "0-1", "--steps", "160", "--hidden", "4",
            "--reuse", name, "--reuse", "other", "--out", "new", "--quiet"]  # fmt: skip


def _ask(name: str) -> None:
    """What Python is told of a run, as JSON."""
    import numpy as np
    import torch

    import pgzoo

    run = pgzoo.load(name)
    told: dict[str, Any] = {"config": _plain(run.config)}
    summary = run.summary
    told["summary"] = summary and {k: v for k, v in summary.items() if k not in TIMED}
    told["failed"] = run.failed
    metrics = run.metrics
    told["metrics"] = hashlib.sha256(metrics.to_csv().encode()).hexdigest()
    told["numbers"] = metrics.select_dtypes(include=[np.number]).shape[1] == metrics.shape[1]
    run.times  # noqa: B018 that it can be had is what is asked
    policy = run.policy(run.config.seeds[0])
    obs = torch.zeros(1, 4) if run.config.env == "CartPole-v1" else torch.zeros(1, dtype=int)
    told["policy"] = policy.probabilities(obs).tolist()
    repr(run)
    run._repr_html_()
    print(json.dumps(told, default=str))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _asked(outcome: Outcome, work: Path, name: str) -> dict[str, Any]:
    return json.loads(outcome.stdout)


READERS: dict[str, Reader] = {
    "eval": Reader(lambda run: ["eval", "--episodes=3", "--", run], _stdout),
    "resume": Reader(_resume, _resumed, writes=lambda run: (run,)),
    "plot": Reader(
        lambda run: ["plot", "--out=new", "--format=svg", "--", "other", run], _tables, True
    ),
    "watch": Reader(
        lambda run: ["watch", "--seconds=0.1", "--out=new.gif", "--", run],
        _film,
        writes=lambda _: ("new.gif",),
    ),
    "compare": Reader(_like, _tables, True),
    "lab": Reader(lambda run: ["lab", "measure", f"--run={run}", *LAB], _lab),
    "lab-at": Reader(lambda run: ["lab", "measure", f"--run={run}", "--at=0", *LAB], _lab),
    "tensorboard": Reader(lambda run: ["tensorboard", "--", run], _nothing),
    "doctor": Reader(lambda run: ["doctor", "--", run], _nothing),
    "python": Reader(None, _asked, python=_ask),
    "reference": Reader(
        lambda run: ["run", "rloo", f"--reference={run}", "--kl-coef=0.1", "--env=CartPole-v1",
                     "--hidden=4", "--seeds=0-1", "--steps=100", "--episodes=4",
                     "--group-size=2", "--quiet", "--out=new"],
        lambda outcome, work, name: {
            k: v for k, v in of_run(work / "new").items() if k in ("metrics", "checkpoint")
        },
    ),
}  # fmt: skip
WEIGHTS = {"eval": 4, "resume": 6, "plot": 2, "watch": 2, "compare": 1, "lab": 1, "lab-at": 2,
           "tensorboard": 1, "doctor": 3, "python": 5, "reference": 1}  # fmt: skip
