"""What ``metrics.csv`` and ``summary.json`` say: their columns and fields, from plain values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgzoo.records.config import RunConfig
from pgzoo.records.schema import LARGEST_FIGURE, Summary, brief, conform, expect

PROGRESS = {
    "iteration": "number of the iteration, from 0",
    "seed": "of the replica",
    "env_steps": "environment steps of the seed so far",
    "episodes": "episodes that the seed has finished so far",
    "return_mean": "mean return of the episodes that this iteration finished",
    "return_last_100": "mean return of the last 100 episodes",
    "length_mean": "mean steps of the episodes that this iteration finished",
}
"""Columns that every line has."""
LEARNING = {
    "entropy": "of the policy, in nats, averaged over steps",
    "gradient_norm": "of the policy's gradient, before it is clipped",
    "clip_fraction": "share of steps whose ratio was clipped",
    "kl_old_policy": "KL from the policy that sampled, in nats, averaged over minibatches",
    "psi_rms": "root mean square of Ψ",
    "learning_rate": "of the policy in this iteration",
    "critic_loss": "mean over the last epoch",
    "explained_variance": "of the returns by the critic",
}
"""Columns of every line, those that the agent has."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
VARIANCE, SIGNAL = "gradient_variance", "gradient_signal"
DIAGNOSED = {
    VARIANCE: "trace of the covariance of the gradient estimate",
    SIGNAL: "‖gradient‖² less that; pool sums of both for a relative variance",
    "gradient_blocks": "independent blocks of trajectories, groups or segments they are from",
    "split_half_cosine": "between the estimates from both halves of the batch",
    **{f"psi_q{100 * q:02.0f}": f"{q:.0%} quantile of Ψ" for q in QUANTILES},
    **{f"weight_q{100 * q:02.0f}": f"{q:.0%} quantile of effective weights" for q in QUANTILES},
    "baseline_explained_variance": "1 − Var(Ψ) / Var(return)",
    "kl_behaviour": "KL of the updated policy from the one that sampled, in nats",
    "ratio_ess": "effective sample size of the ratios after the update, as a share",
}
"""Columns that are empty but in iterations that are diagnosed; beside them, for every other
estimator on demand, the first two with its name (``variance_column``, ``signal_column``)."""
WHOLE_NUMBERS = ("iteration", "seed", "env_steps", "episodes")
"""Columns of ``PROGRESS`` that no line leaves empty."""
# The estimator's name becomes that of a folder: it is none that leads elsewhere.
OF_ESTIMATOR = re.compile(rf"({VARIANCE}|{SIGNAL})_of_[a-z][\w+:=,.-]{{0,199}}", re.ASCII)
COLUMNS = PROGRESS | LEARNING | DIAGNOSED
"""Every column of ``metrics.csv`` and what it means, but for those of other estimators."""


def variance_column(estimator: str) -> str:
    """The column of another estimator's variance on the same batches."""
    return f"{VARIANCE}_of_{estimator.replace(' ', '_')}"


def signal_column(estimator: str) -> str:
    """The column of another estimator's signal."""
    return f"{SIGNAL}_of_{estimator.replace(' ', '_')}"


def is_column(name: str) -> bool:
    """Whether there is a column of that name."""
    return name in COLUMNS or OF_ESTIMATOR.fullmatch(name) is not None


def metrics_line(
    *,
    iteration: int,
    seed: int,
    env_steps: int,
    episodes: int,
    returns: Sequence[float],
    lengths: Sequence[int],
    recent: Sequence[float],
    figures: Mapping[str, float | str],
    sparse: Sequence[str] = (),
) -> dict[str, Any]:
    """A line of ``metrics.csv``: one seed in one iteration. What is not known is None.

    Args:
        iteration: its number, from 0.
        seed: the replica's.
        env_steps: environment steps so far.
        episodes: episodes finished so far.
        returns: of the episodes finished in this iteration.
        lengths: theirs, in steps.
        recent: returns of the last episodes, at most 100.
        figures: further columns; NaN is what cannot be said.
        sparse: columns that every line has, whether or not there is a figure, at its end.

    Raises:
        ValueError: for a figure that is no column.
    """
    unknown = [k for k in figures if not is_column(k)]
    if unknown:
        raise ValueError(f"{unknown[0]} is no column; describe it in {__name__}.")
    line = {
        "iteration": iteration,
        "seed": seed,
        "env_steps": env_steps,
        "episodes": episodes,
        "return_mean": _mean(returns),
        "return_last_100": _mean(recent),
        "length_mean": _mean(lengths),
    }
    known = {k: _finite(v) for k, v in figures.items()}
    line |= {k: v for k, v in known.items() if k not in sparse}
    return line | {k: known.get(k) for k in sparse}


def run_summary(
    config: RunConfig,
    *,
    iterations: int,
    env_steps: Sequence[int],
    seconds: float,
    threshold: float | None,
    episodes: int,
    returns: Sequence[Sequence[float] | NDArray[np.float64] | None],
    steps_to_threshold: Sequence[int | None],
    failed: Sequence[str | None],
    solved_interval: Callable[[int, int], Sequence[float]] | None = None,
) -> dict[str, Any]:
    """What ``summary.json`` holds. Lists have one entry for each seed.

    Args:
        config: of the run.
        iterations: how many there were.
        env_steps: environment steps of each seed.
        seconds: that the run took, above 0.
        threshold: the return from which on a policy has solved the environment, if it has one.
        episodes: fresh ones that each trained policy was evaluated by, at least 2.
        returns: theirs, for each seed; None where it failed.
        steps_to_threshold: environment steps when training reached the threshold.
        failed: why a seed was stopped, if it was.
        solved_interval: from how many of how many seeds have solved the environment to the ends of
            a 95% interval of the probability.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # some environment's return may be infinite
        eval_mean = [None if x is None else _finite(np.mean(x)) for x in returns]
        eval_std = [None if x is None else _finite(np.std(x, ddof=1)) for x in returns]
    solved = [None if threshold is None else m is not None and m >= threshold for m in eval_mean]
    interval = None
    if threshold is not None and solved_interval is not None:
        interval = [float(end) for end in solved_interval(sum(map(bool, solved)), len(solved))]
    return {
        "agent": config.agent,
        "env": config.env,
        "policy_kind": config.policy_kind,
        "seeds": list(config.seeds),
        "iterations": iterations,
        "env_steps_per_seed": list(env_steps),
        "wall_seconds": seconds,
        "steps_per_second": sum(env_steps) / seconds,
        "threshold": threshold,
        "eval_episodes": episodes,
        "eval_mean": eval_mean,
        "eval_std": eval_std,
        "eval_standard_error": [None if s is None else s / math.sqrt(episodes) for s in eval_std],
        "solved": solved,
        "solved_interval": interval,
        "steps_to_threshold": list(steps_to_threshold),
        "failed": list(failed),
    }


OF_EACH_SEED = (
    "env_steps_per_seed",
    "eval_mean",
    "eval_std",
    "eval_standard_error",
    "solved",
    "steps_to_threshold",
    "failed",
)
"""Fields of a summary that are lists with one entry for each seed."""


def merged_summary(
    config: RunConfig,
    summaries: Sequence[Mapping[str, Any]],
    solved_interval: Callable[[int, int], Sequence[float]],
) -> dict[str, Any]:
    """The summary of a run whose seeds were trained in parts.

    Args:
        config: of the whole run.
        summaries: of the parts, which have each of its seeds once between them.
        solved_interval: as for ``run_summary``.
    """
    place = {seed: (s, i) for s in summaries for i, seed in enumerate(s["seeds"])}
    rows = [place[seed] for seed in config.seeds]
    each = {field: [s[field][i] for s, i in rows] for field in OF_EACH_SEED}
    seconds = max(s["wall_seconds"] for s in summaries)
    merged = dict(summaries[0]) | each  # keeps the order of the fields
    merged |= {
        "seeds": list(config.seeds),
        "iterations": max(s["iterations"] for s in summaries),
        "wall_seconds": seconds,
        "steps_per_second": sum(each["env_steps_per_seed"]) / seconds,
    }
    if merged["solved_interval"] is not None:
        ends = solved_interval(sum(map(bool, each["solved"])), len(rows))
        merged["solved_interval"] = [float(end) for end in ends]
    return merged


def check_summary(data: Any, config: RunConfig) -> None:
    """Hold a summary against the schema and the configuration of its run.

    Raises:
        ValueError: if a field is missing, unknown, of another kind, or about another run.
    """
    found: Summary = conform(data, Summary)
    for name in ("agent", "env", "policy_kind", "seeds"):
        mine, its = getattr(found, name), getattr(config, name)
        expect(mine == its, name, f"as in config.json, {brief(its)}", mine)
    for name in OF_EACH_SEED:
        entries = getattr(found, name)
        expect(len(entries) == len(config.seeds), name, f"a list of {len(config.seeds)}", entries)
    for i, failed in enumerate(found.failed):
        here = f"[{i}]"
        mean, std, error = found.eval_mean[i], found.eval_std[i], found.eval_standard_error[i]
        expect(failed is None or mean is None, f"eval_mean{here}", "null, as it failed", mean)
        expect(std is None or mean is not None, f"eval_std{here}", "null, as the mean is", std)
        expect((error is None) == (std is None), f"eval_standard_error{here}", "of eval_std", error)
        solved = None
        if found.threshold is not None:
            solved = mean is not None and mean >= found.threshold
        expect(found.solved[i] == solved, f"solved{here}", f"{solved}", found.solved[i])
        steps, reached = found.env_steps_per_seed[i], found.steps_to_threshold[i]
        expect((reached or 0) <= steps, f"steps_to_threshold{here}", f"at most {steps}", reached)
    interval = found.solved_interval
    expect(interval is None or interval[0] <= interval[1], "solved_interval", "in order", interval)
    expect(
        interval is None or found.threshold is not None,
        "solved_interval",
        "null without a threshold",
        interval,
    )


def _mean(values: Sequence[float]) -> float | None:
    return _finite(sum(values) / len(values)) if len(values) else None


def _finite(value: Any) -> float | None:
    """A figure that readers accept, None for what is none."""
    return float(value) if abs(value) <= LARGEST_FIGURE else None  # NaN is not
