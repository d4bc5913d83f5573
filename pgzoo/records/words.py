"""Results in words, the same on a terminal, in a notebook and in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pgzoo.options import written
from pgzoo.records.config import RunConfig
from pgzoo.records.intervals import (
    MIN_RUNS,
    decimals,
    interquartile_mean_interval,
    reaches_threshold,
    share_interval,
)
from pgzoo.records.printable import in_markdown


def settings(config: RunConfig) -> str:
    """What a run trains, and with which options, as Markdown."""
    c = config
    many = len(c.seeds)
    seeds = f"seed {c.seeds[0]}" if many == 1 else f"{many} seeds ({ranges(c.seeds)})"
    head = f"**{in_markdown(c.agent)}** on {in_markdown(c.env)}, {c.policy_kind} policy, {seeds}"
    if c.max_episode_steps is not None:
        head += f", at most {c.max_episode_steps:,} steps in an episode"
    if c.stop_when_solved:
        head += "; a seed stops when it has reached the threshold"
    options = (in_markdown(f"{k}={written(v)}") for k, v in sorted(c.hyperparameters.items()))
    return f"{head}\n\n{', '.join(options)}"


def ranges(numbers: Sequence[int]) -> str:
    """As in ``0-9, 12``."""
    parts: list[list[int]] = []
    for n in sorted(numbers):
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def in_words(summary: Mapping[str, Any]) -> list[str]:
    """What a complete run has come to, in lines."""
    means = [m for m in summary["eval_mean"] if m is not None]
    total = sum(summary["env_steps_per_seed"])
    speed = summary["steps_per_second"]
    time = f"{total:,} steps in {duration(summary['wall_seconds'])}"
    time += f" ({speed:,.0f} steps/s)" if speed is not None else ""
    if not means:
        return [f"All seeds failed; {time}."]
    lines = [over_seeds(means)]
    if summary["threshold"] is not None:
        lines += _solved(summary)
    return [*lines, time]


def _solved(summary: Mapping[str, Any]) -> list[str]:
    solved, seeds = sum(bool(s) for s in summary["solved"]), len(summary["seeds"])
    threshold = summary["threshold"]
    lines = [solved_in_words(solved, seeds, threshold)]
    close = verdicts(summary).count("too close")
    if close:
        lines.append(
            f"{close} of {seeds} evaluations of {summary['eval_episodes']} episodes are too close "
            f"to {threshold:g} to be sure on which side of it their policy is"
        )
    return lines


def solved_in_words(solved: int, seeds: int, threshold: float) -> str:
    """How many of how many seeds have a trained policy that reaches the threshold."""
    share = share_interval(solved, seeds)
    return (
        f"solved (mean ≥ {threshold:g}): {solved} of {seeds} seeds, "
        f"95% interval of the share [{share.low:.2f}, {share.high:.2f}]"
    )


def verdicts(summary: Mapping[str, Any]) -> list[str | None]:
    """Of every seed, whether its evaluation shows that the policy reaches the threshold."""
    if summary["threshold"] is None:
        return [None] * len(summary["seeds"])
    figures = zip(summary["eval_mean"], summary["eval_std"], strict=True)
    return [
        None
        if mean is None
        else reaches_threshold(mean, std, summary["eval_episodes"], summary["threshold"])
        for mean, std in figures
    ]


def over_seeds(means: Sequence[float]) -> str:
    """Interquartile mean with its interval, and mean, of one figure for each seed."""
    interval = interquartile_mean_interval(means)
    text = f"interquartile mean {interval}"
    if len(means) >= MIN_RUNS:
        text += " (95% interval over seeds)"
    mean = float(np.mean(means))
    text += f", mean {mean:.{decimals(mean)}f}"
    if len(means) < MIN_RUNS:
        text += f"; fewer than {MIN_RUNS} seeds are too few for an interval"
    return text


def spread(returns: ArrayLike) -> str:
    """Mean ± standard deviation over seeds, of those that are known."""
    values = np.asarray(returns, dtype=float)
    known = values[~np.isnan(values)]
    if not len(known):
        return "…"
    if len(known) == 1:
        return f"{known[0]:.{decimals(known[0])}f}"
    return f"{plus_minus(known.mean(), known.std(ddof=1))} over {len(known)} seeds"


def plus_minus(mean: float, deviation: float) -> str:
    """As in ``21.5 ± 3.0``."""
    digits = decimals(mean)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if not np.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"
